//! The table in the README.

use std::process::Command;
use std::time::SystemTime;

use crate::programs::{Both, median};

pub struct Table {
    /// The load of the machine before the benchmark.
    load: String,
    rows: Vec<String>,
}

impl Table {
    pub fn start() -> Table {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default();
        Table { load: load.to_owned(), rows: Vec::new() }
    }

    pub fn row(
        &mut self,
        what: &str,
        cells: &Both<String>,
        ratio: Option<f64>,
        reached: Option<bool>,
        target: &str,
    ) {
        let peer = cells.peer.as_deref().unwrap_or("–");
        let ratio = ratio.map_or("–".to_owned(), |ratio| match ratio {
            ..0.1 => format!("{ratio:.3}"),
            _ => format!("{ratio:.2}"),
        });
        let missed = if reached == Some(false) { " **missed**" } else { "" };
        let row = format!("| {what} | {} | {peer} | {ratio} | {target}{missed} |", cells.ours);
        eprintln!("{row}");
        self.rows.push(row);
    }

    /// A row with the time of a turn. `most`: the target, as a share of the C program's time.
    pub fn times(&mut self, what: &str, turns: &Both<Vec<f64>>, most: f64) {
        let cells = turns.map(|turns| time(median(turns)));
        let ratio = turns.ratio(|ours, peer| ours / peer);
        let reached = ratio.map(|ratio| ratio <= most);
        self.row(what, &cells, ratio, reached, &format!("≤ {most}"));
    }

    /// A row with calls per second; `turns` has nanoseconds per call. `least`: the target ratio.
    pub fn rates(&mut self, what: &str, turns: &Both<Vec<f64>>, least: f64) {
        let cells = turns.map(|turns| format!("{:.0} million", 1000.0 / median(turns)));
        let ratio = turns.ratio(|ours, peer| peer / ours);
        let reached = ratio.map(|ratio| ratio >= least);
        self.row(what, &cells, ratio, reached, &format!("≥ {least}"));
    }

    pub fn print(&self) {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let (date, machine, load) = (&date[5..16], machine(), &self.load);
        println!("\nMeasured on {date} with `cargo bench`: {machine}, load {load} before.\n");
        println!("| what | ours | C program | ratio | target |");
        println!("|---|---|---|---|---|");
        self.rows.iter().for_each(|row| println!("{row}"));
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from) as i64;
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.unwrap_or_default().trim_start_matches([' ', '\t', ':']);
    let curl = Command::new("curl-config").arg("--version").output();
    let curl = curl.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let curl = curl.map(|version| format!(", {version}")).unwrap_or_default();
    format!("{} of {model}{curl}", count(cores, "core"))
}

pub fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1e3 => format!("{nanoseconds:.0} ns"),
        ..1e6 => format!("{:.0} µs", nanoseconds / 1e3),
        ..1e9 => format!("{:.1} ms", nanoseconds / 1e6),
        _ => format!("{:.2} s", nanoseconds / 1e9),
    }
}

pub fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

pub fn count(number: i64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
