//! Which addresses an outbound connection may have.
//!
//! A URL is only a name; what matters is the address that it resolves to at the moment of connecting. So the rules
//! judge addresses, they are asked with exactly those that will be connected to, and a name that resolves to
//! something else a second later gains nothing. Addresses that carry an IPv4 address inside (mapped, NAT64, 6to4,
//! Teredo) are judged by that one too: otherwise `64:ff9b::a9fe:a9fe` would be a way to the metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::snapshot::Origin;
use http::Uri;
use ipnet::IpNet;

/// What the operator allows beyond the public internet.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    /// `security.allow_upstream_cidrs`
    pub allow: Vec<IpNet>,
}

/// What kind of address it is, from harmless to never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// Anybody's.
    Public,
    /// This host or a private network.
    Private,
    /// Link-local and cloud metadata: credentials of the machine are to be had there.
    Metadata,
    /// Not the address of one host at all.
    Nowhere,
}

/// Why an outbound address is refused. Shown to operators; names the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("the scheme `{0}` is not supported; use http or https")]
    Scheme(String),
    #[error("the URL has no host")]
    NoHost,
    #[error("port {0} is not one that a provider would use; allowed are 80, 443 and those from 1024")]
    Port(u16),
    #[error(
        "the address {0} is private; add its network to security.allow_upstream_cidrs, or declare the upstream in the configuration file"
    )]
    Private(IpAddr),
    #[error("the address {0} is link-local or a metadata service; it needs an entry in security.allow_upstream_cidrs")]
    Metadata(IpAddr),
    #[error("the address {0} cannot be connected to")]
    Nowhere(IpAddr),
}

impl AddressRules {
    /// Checks scheme and port of a URL; gives host and port.
    pub(crate) fn check_url(uri: &Uri, origin: Origin) -> Result<(&str, u16), AddressError> {
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            other => return Err(AddressError::Scheme(other.unwrap_or("").to_owned())),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(AddressError::NoHost)?;
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let usual = matches!(port, 80 | 443 | 1024..);
        if port == 0 || (origin == Origin::Remote && !usual) {
            return Err(AddressError::Port(port));
        }
        Ok((host.trim_start_matches('[').trim_end_matches(']'), port))
    }

    /// What is wrong with the address that an operator's URL names, where it names one and no name of it. Shown with the
    /// place of the URL.
    pub fn problem_of(&self, url: &str) -> Option<String> {
        let uri: Uri = url.parse().ok()?;
        let address: IpAddr = uri.host()?.trim_matches(['[', ']']).parse().ok()?;
        let refused = self.check(address, Origin::Operator).err()?;
        Some(format!("will never be connected to: {refused}"))
    }

    /// Checks an address that is about to be connected to.
    pub(crate) fn check(&self, address: IpAddr, origin: Origin) -> Result<(), AddressError> {
        let reach = reach(address);
        if reach == Reach::Nowhere {
            return Err(AddressError::Nowhere(address));
        }
        if self
            .allow
            .iter()
            .any(|net| net.contains(&address) || embedded(address).is_some_and(|v4| net.contains(&IpAddr::V4(v4))))
        {
            return Ok(());
        }
        match (reach, origin) {
            (Reach::Public, _) | (Reach::Private, Origin::Operator) => Ok(()),
            (Reach::Private, Origin::Remote) => Err(AddressError::Private(address)),
            (Reach::Metadata | Reach::Nowhere, _) => Err(AddressError::Metadata(address)),
        }
    }
}

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6).max(embedded(address).map_or(Reach::Public, reach_v4)),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, d] = address.octets();
    match (a, b, c, d) {
        // "This network" reaches the host itself on Linux.
        (0 | 224.., ..) if !address.is_unspecified() => Reach::Nowhere,
        // Alibaba's metadata service lies in the shared range, Azure's in a public one, Oracle's older one among protocol
        // assignments.
        (100, 100, 100, 200) | (168, 63, 129, 16) | (192, 0, 0, 192) | (169, 254, ..) => Reach::Metadata,
        // This host, private networks, the shared range of providers; then protocol assignments, documentation and
        // benchmarking, which are nobody's.
        (0 | 127 | 10, ..)
        | (192, 168, ..)
        | (172, 16..=31, ..)
        | (100, 64..=127, ..)
        | (192, 0, 0 | 2, _)
        | (198, 18 | 19, ..)
        | (198, 51, 100, _)
        | (203, 0, 113, _) => Reach::Private,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    if address.is_multicast() {
        return Reach::Nowhere;
    }
    if address.is_loopback() || address.is_unspecified() {
        return Reach::Private;
    }
    match segments {
        // AWS serves its metadata at fd00:ec2::254, Google at fd20:ce::254.
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, ..] | [0xfe80..=0xfebf, ..] => Reach::Metadata,
        [0xfec0..=0xfeff | 0xfc00..=0xfdff, ..] | [0x2001, 0x0db8, ..] | [0x0100, 0, 0, 0, ..] => Reach::Private,
        _ => Reach::Public,
    }
}

/// The IPv4 address that an IPv6 address stands for, or tunnels to.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        // The old IPv4-compatible form; `::1` and `::` are not of it.
        [0, 0, 0, 0, 0, 0, 0, _] => None,
        // In order: IPv4-compatible, IPv4-mapped, IPv4-translated (SIIT), NAT64 (well-known and local-use prefix; the
        // longer reading of the former takes nothing away from anybody), 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x0064, 0xff9b, 0 | 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => Some(v4(high, low)),
        // Teredo keeps the client's address inverted at the end.
        [0x2001, 0, _, _, _, _, high, low] => Some(v4(!high, !low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, origin: Origin) -> bool {
        AddressRules::default().check(address.parse().unwrap(), origin).is_ok()
    }

    #[test]
    fn public_addresses_are_open_to_all() {
        for address in ["1.1.1.1", "104.18.7.192", "2606:4700::6812:7c0", "64:ff9b::101:101"] {
            assert!(check(address, Origin::Remote), "{address}");
        }
    }

    #[test]
    fn private_addresses_are_the_operators() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.9",
            "172.20.0.1",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fd12::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
            "::ffff:0:10.0.0.1",
            "fec0::1",
        ] {
            assert!(!check(address, Origin::Remote), "{address}");
            assert!(check(address, Origin::Operator), "{address}");
        }
    }

    #[test]
    fn metadata_is_nobodys_without_the_list() {
        let all = AddressRules {
            allow: vec!["169.254.0.0/16".parse().unwrap(), "fd00:ec2::/32".parse().unwrap()],
        };
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
        ] {
            assert!(!check(address, Origin::Operator), "{address}");
            assert!(!check(address, Origin::Remote), "{address}");
            assert!(
                all.check(address.parse().unwrap(), Origin::Remote).is_ok(),
                "{address} is on the list"
            );
        }
        for address in [
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fe80::1",
            "fd20:ce::254",
        ] {
            assert!(!check(address, Origin::Operator), "{address}");
        }
    }

    #[test]
    fn what_is_no_host_stays_closed_even_on_the_list() {
        let all = AddressRules {
            allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        };
        for address in ["224.0.0.1", "255.255.255.255", "ff02::1", "0.1.2.3"] {
            assert!(
                all.check(address.parse().unwrap(), Origin::Operator).is_err(),
                "{address}"
            );
        }
    }

    #[test]
    fn schemes_and_ports_are_bounded() {
        let check = |url: &str, origin| {
            let uri: Uri = url.parse().unwrap();
            AddressRules::check_url(&uri, origin).map(|(host, port)| (host.to_owned(), port))
        };
        assert_eq!(
            check("https://api.example/v1", Origin::Remote),
            Ok(("api.example".to_owned(), 443))
        );
        assert_eq!(
            check("http://[::1]:8080/", Origin::Remote),
            Ok(("::1".to_owned(), 8080))
        );
        assert_eq!(
            check("ftp://x/", Origin::Operator),
            Err(AddressError::Scheme("ftp".to_owned()))
        );
        assert_eq!(check("http://x:22/", Origin::Remote), Err(AddressError::Port(22)));
        assert_eq!(check("http://x:22/", Origin::Operator), Ok(("x".to_owned(), 22)));
    }
}
