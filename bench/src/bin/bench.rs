//! The whole comparison: prepares, runs the rounds in alternation, prints and writes the tables.

use std::fs;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use tollgate_bench::control;
use tollgate_bench::options::Options;
use tollgate_bench::phase::{Cpu, Phase};
use tollgate_bench::prepare;
use tollgate_bench::process::{Process, pause};
use tollgate_bench::report::{Conditions, Report};
use tollgate_bench::round::Round;
use tollgate_bench::stop;
use tollgate_bench::target::{Site, UPSTREAM_ADDRESS};

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let site = prepare_site(&options)?;
    if !options.inside_namespace {
        let reason = prepare::enter_namespace();
        say(&format!("running in the host's network: {reason}"))?;
    }
    stop::on_signals()?;
    prepare::raise_open_files(options.settings().held_streams)?;
    let report = measure(&options, &site)?;
    write_results(&options, &report)?;
    Ok(if report.errors() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn prepare_site(options: &Options) -> anyhow::Result<Site> {
    let program = std::env::current_exe()?;
    let binaries = program.parent().context("this program is in no folder")?.to_owned();
    let gateway = prepare::gateway(options, &binaries)?;
    prepare::nginx(options)?;
    let work = prepare::home().join("out/work");
    Ok(Site {
        binaries,
        gateway,
        config: prepare::home(),
        work,
    })
}

fn measure(options: &Options, site: &Site) -> anyhow::Result<Report> {
    if site.work.exists() {
        fs::remove_dir_all(&site.work)?;
    }
    fs::create_dir_all(&site.work)?;
    let upstream = start_upstream(site)?;
    let settings = options.settings();
    let profile = site.binaries.file_name().unwrap_or_default().to_string_lossy();
    let gateway = if options.bin.is_some() {
        "given by --bin"
    } else {
        options.profile.as_str()
    };
    let conditions = Conditions::here(&profile, gateway, options.inside_namespace);
    let mut report = Report {
        conditions,
        settings,
        rounds: Vec::new(),
    };
    for number in 1..=options.rounds() {
        for target in options.targets() {
            let round = Round::run(number, target, site, &settings);
            say(&summary(&round))?;
            report.rounds.push(round);
        }
    }
    upstream.stop().context("mock upstream")?;
    Ok(report)
}

fn start_upstream(site: &Site) -> anyhow::Result<Process> {
    let command = Command::new(site.binaries.join("bench-upstream"));
    let mut upstream = Process::start(command, &site.work.join("upstream.log"))?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while control::get(UPSTREAM_ADDRESS, "/__stats", "").is_err() {
        let ended = upstream.ended()?.is_some();
        anyhow::ensure!(
            !ended && Instant::now() < deadline,
            "the mock upstream: {}",
            upstream.log_tail()
        );
        pause(Duration::from_millis(5));
    }
    // Another program may hold the port and speak the same language: a mock upstream of another run.
    pause(Duration::from_millis(50));
    anyhow::ensure!(
        upstream.ended()?.is_none(),
        "the mock upstream: {}",
        upstream.log_tail()
    );
    Ok(upstream)
}

fn summary(round: &Round) -> String {
    let name = format!("round {}, {:?}", round.number, round.target);
    if let Some(failure) = &round.failure {
        return format!("{name}: FAILED: {failure}");
    }
    let Some(peak) = round.phases.get(&Phase::Peak) else {
        return name;
    };
    let cpu = peak
        .per_answer_us(Cpu::whole)
        .map_or_else(String::new, |us| format!(", {us:.1} µs CPU each"));
    format!(
        "{name}: {:.0} requests/s{cpu}, {} errors",
        peak.load.per_second,
        round.errors()
    )
}

fn write_results(options: &Options, report: &Report) -> anyhow::Result<()> {
    let out = prepare::home().join("out");
    let json = options.json.clone().unwrap_or_else(|| out.join("latest.json"));
    let markdown = report.markdown();
    fs::write(&json, serde_json::to_string_pretty(report)?).with_context(|| json.display().to_string())?;
    fs::write(out.join("latest.md"), &markdown)?;
    io::stdout().write_all(markdown.as_bytes())?;
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{line}")
}
