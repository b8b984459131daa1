//! Reads from `/proc` and the kernel's clocks what processes used.
//!
//! CPU time comes from the process CPU clocks, exact to the nanosecond and including threads that have ended; the
//! ticks of `/proc/PID/stat` are 10 ms each, a twentieth of a whole phase at 1000 requests per second, and serve only
//! to split user from system time and to find what ended children used.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

/// A process and its descendants, as they were when it was asked for.
#[derive(Debug, Clone)]
pub struct ProcessTree {
    pids: Vec<Pid>,
}

/// CPU time used since the processes began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// User and system time, of all threads, living and ended, and of children that ended.
    pub total: Duration,
    /// User time in ticks.
    pub user_ticks: u64,
    /// System time in ticks.
    pub system_ticks: u64,
}

/// Memory of a process tree, in bytes. Pages that several processes share count for each of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// The most that was resident at any time.
    pub peak: u64,
}

/// The fields of `/proc/PID/stat` that are of use here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    user: u64,
    system: u64,
    children: u64,
}

impl ProcessTree {
    /// `root` and everything below it.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn of(root: Pid) -> io::Result<Self> {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            // A process that has ended meanwhile is none of ours any more.
            if let Ok(stat) = stat_of(Pid::from_raw(pid)) {
                children.entry(stat.parent).or_default().push(pid);
            }
        }
        let mut pids = vec![root];
        let mut next = 0;
        while next < pids.len() {
            let below = children.remove(&pids[next].as_raw()).unwrap_or_default();
            pids.extend(below.into_iter().map(Pid::from_raw));
            next += 1;
        }
        Ok(Self { pids })
    }

    /// CPU time used so far.
    ///
    /// # Errors
    /// When one of the processes is gone: what it used is lost, and with it the figure.
    pub fn cpu(&self) -> io::Result<CpuTime> {
        let mut sum = CpuTime::default();
        for &pid in &self.pids {
            let clock = clock_gettime(ClockId::pid_cpu_clock_id(pid)?)?;
            let stat = stat_of(pid)?;
            sum.total += Duration::from(clock) + ticks(stat.children)?;
            sum.user_ticks += stat.user;
            sum.system_ticks += stat.system;
        }
        Ok(sum)
    }

    /// Memory in use.
    ///
    /// # Errors
    /// When one of the processes is gone.
    pub fn memory(&self) -> io::Result<Memory> {
        let mut sum = Memory::default();
        for pid in &self.pids {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            sum.resident += kib(&status, "VmRSS:") * 1024;
            sum.peak += kib(&status, "VmHWM:") * 1024;
        }
        Ok(sum)
    }
}

impl CpuTime {
    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    /// The share of user time; none if nothing was used.
    pub fn user_share(&self) -> Option<f64> {
        let all = self.user_ticks + self.system_ticks;
        (all > 0).then(|| self.user_ticks as f64 / all as f64)
    }
}

/// CPU time that the whole machine has spent on anything, stolen time of a virtual machine included.
///
/// # Errors
/// When `/proc/stat` cannot be read.
pub fn machine_busy() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    ticks(busy_ticks(&text).ok_or_else(|| io::Error::other("/proc/stat has no line for all cores"))?)
}

/// user, nice, system, irq, softirq and steal of the first line; guest time is within user already.
fn busy_ticks(text: &str) -> Option<u64> {
    let fields: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .flat_map(str::parse)
        .collect();
    let waiting = fields.get(3)? + fields.get(4)?;
    Some(fields.get(..8)?.iter().sum::<u64>() - waiting)
}

fn stat_of(pid: Pid) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not as expected")))
}

/// The name is in parentheses and may itself contain spaces and parentheses: fields are counted after the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        user: number(11)?,
        system: number(12)?,
        children: number(13)? + number(14)?,
    })
}

fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}

fn ticks(count: u64) -> io::Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.filter(|&per_second| per_second > 0);
    let per_second = per_second.ok_or_else(|| io::Error::other("the kernel does not say how long a tick is"))?;
    Ok(Duration::from_secs_f64(count as f64 / per_second as f64))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 1 0 100 1 2";
        assert_eq!(
            parse_stat(text),
            Some(Stat {
                parent: 3,
                user: 50,
                system: 60,
                children: 15
            })
        );
        assert_eq!(parse_stat("7 (x) S"), None);
    }

    #[test]
    fn busy_time_leaves_out_idle_and_guest() {
        assert_eq!(busy_ticks("cpu  1 2 4 1000 1000 8 16 32 1 1\ncpu0 9"), Some(63));
        assert_eq!(busy_ticks("intr 1"), None);
    }

    #[test]
    fn own_cpu_time_is_what_was_burnt() {
        let tree = ProcessTree {
            pids: vec![nix::unistd::getpid()],
        };
        let before = tree.cpu().unwrap();
        let (begun, mut sum) = (Instant::now(), 0_u64);
        while begun.elapsed() < Duration::from_millis(30) {
            sum = std::hint::black_box(sum + 1);
        }
        let used = tree.cpu().unwrap().since(&before).total;
        assert!(used > Duration::from_millis(3), "{used:?} for 30 ms of work");
    }

    #[test]
    fn children_belong_to_the_tree_and_a_dead_process_is_an_error() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let tree = ProcessTree::of(nix::unistd::getpid()).unwrap();
        let found = tree.pids.contains(&pid);
        let memory = ProcessTree::of(pid).unwrap().memory();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
        assert!(memory.unwrap().resident > 100_000);
        assert!(tree.cpu().is_err());
    }
}
