//! Many threads while a token is refreshed, and while the refresh fails.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::programs::{OPEN, Program, Programs, Side, at_once, median, quantile};
use crate::support::tenant::{Answer, Builder, Tenant};
use crate::table::{Table, count, time};

const DELAY: Duration = Duration::from_millis(200);

/// Times in nanoseconds, by the same clock for all calls of a process.
struct Call {
    start: i64,
    took: i64,
    served: bool,
}

impl Call {
    fn end(&self) -> i64 {
        self.start + self.took
    }
}

impl Program {
    /// Starts threads that each call once per millisecond for this time, and at least once.
    fn watch(&mut self, threads: u32, milliseconds: u128) -> Vec<Call> {
        let numbers = self.ask(&format!("watch {threads} {milliseconds}"));
        let call = |call: &[i64]| Call { start: call[0], took: call[1], served: call[2] == 1 };
        let mut calls: Vec<Call> = numbers.chunks(3).map(call).collect();
        calls.sort_by_key(|call| call.start);
        calls
    }

    fn sleep_until_before_due(&mut self, ahead: Duration) {
        let due = Duration::from_millis(self.ask("due")[0] as u64);
        sleep(due.saturating_sub(ahead));
    }
}

fn longest(calls: &[Call]) -> f64 {
    calls.iter().map(|call| call.took).max().unwrap_or(0) as f64
}

fn p99<'a>(calls: impl IntoIterator<Item = &'a Call>) -> f64 {
    let took: Vec<f64> = calls.into_iter().map(|call| call.took as f64).collect();
    quantile(&took, 0.99)
}

pub fn expiry(programs: &Programs, table: &mut Table) {
    let outcomes = programs.both(|side| {
        let tenant = tenant(1).delay(DELAY).start();
        let mut program = programs.start(side, &tenant);
        program.open_and_get(OPEN);
        let mut requests = 0;
        let spreads: Vec<f64> = (0..7)
            .map(|_| {
                sleep(Duration::from_millis(1100));
                let before = tenant.requests();
                let calls = program.watch(64, 0);
                requests = requests.max(tenant.requests() - before);
                let ends = calls.iter().map(Call::end);
                let spread = ends.clone().max().unwrap_or(0) - ends.min().unwrap_or(0);
                if calls.iter().all(|call| call.served) { spread as f64 } else { f64::INFINITY }
            })
            .collect();
        (requests as i64, median(&spreads))
    });
    let cells = outcomes.map(|(requests, spread)| {
        format!("{}, all within {} of the first", count(*requests, "request"), time(*spread))
    });
    let (requests, spread) = outcomes.ours;
    let reached = requests == 1 && spread <= 3e6;
    let what = "64 threads at the moment of expiry, tenant takes 200 ms";
    table.row(what, &cells, None, Some(reached), "1 request, all within 3 ms");
}

pub fn due(programs: &Programs, table: &mut Table) {
    let outcomes = programs.both(|side| {
        let tenant = tenant(3).delay(DELAY).start();
        let mut program = programs.start(side, &tenant);
        program.open_and_get(OPEN);
        let rounds = (0..3).map(|_| {
            program.sleep_until_before_due(Duration::from_millis(300));
            let calls = program.watch(16, 900);
            assert!(calls.iter().all(|call| call.served), "the token was valid");
            let waited: Vec<&Call> = calls.iter().filter(|call| call.took > 100_000_000).collect();
            let from = waited.iter().map(|call| call.start).min().unwrap_or(0);
            let to = waited.iter().map(|call| call.end()).max().unwrap_or(0);
            let meanwhile = calls.iter().filter(|call| (from..to).contains(&call.start));
            (waited.len() as f64, p99(meanwhile.filter(|call| call.took <= 100_000_000)))
        });
        let (waited, others): (Vec<f64>, Vec<f64>) = rounds.unzip();
        (quantile(&waited, 1.0), median(&others))
    });
    let cells = outcomes.map(|(waited, others)| match others.is_nan() {
        true => format!("{waited} callers wait, no other call succeeds meanwhile"),
        false => format!("{waited} caller waits, the others' p99 is {}", time(*others)),
    });
    let (waited, others) = outcomes.ours;
    let reached = waited == 1.0 && others <= 1e5;
    let what = "16 threads while a valid token becomes refresh-due, tenant takes 200 ms";
    table.row(what, &cells, None, Some(reached), "1 caller waits, the others' p99 ≤ 100 µs");
}

/// Runs three outages at the same time, since most of the time is spent waiting.
pub fn outages(programs: &Programs, table: &mut Table) {
    let ((busy, hanging), without) = at_once(
        || {
            at_once(
                || programs.at_once(|side| outage(programs, side, &Answer::status(503))),
                || programs.at_once(|side| outage(programs, side, &Answer::Hang)),
            )
        },
        || programs.at_once(|side| without_token(programs, side)),
    );
    for (what, outcomes) in [("answers 503", busy), ("hangs", hanging)] {
        let what = format!("8 threads, token refresh-due, tenant {what}");
        let target = "all served, 1 waits 3 s at most, the others' p99 ≤ 100 µs, requests spaced";
        table.row(
            &what,
            &outcomes.map(Outage::describe),
            None,
            Some(outcomes.ours.is_good()),
            target,
        );
    }
    let cells = without
        .map(|(first, last)| format!("they answer after {} to {}", time(*first), time(*last)));
    let reached = without.ours.1 <= 5.1e9;
    let what = "no usable token, tenant hangs, 8 callers with 5 s each";
    table.row(what, &cells, None, Some(reached), "all answer within 5.1 s");
}

struct Outage {
    calls: usize,
    unserved: usize,
    waits: Vec<Call>,
    others_p99: f64,
    /// Seconds between the requests, up to the first success.
    gaps: Vec<f64>,
    requests_after_success: usize,
}

/// The tenant fails from shortly before the token is refresh-due until `OUTAGE` later.
fn outage(programs: &Programs, side: Side, answer: &Answer) -> Outage {
    const OUTAGE: Duration = Duration::from_millis(7300);
    const WATCH: Duration = Duration::from_millis(9200);
    const SOON: Duration = Duration::from_millis(200);
    // The lifetime is 50 s and the margin 25 s. With the library the token is refresh-due at a random
    // time 5 to 10 s before the margin, with the C program at the margin.
    let tenant = tenant(50).start();
    let mut program = programs.start(side, &tenant);
    let settings = match side {
        Side::Ours => "30000 25 0",
        Side::Peer => "3000 25 0", // the time of one attempt of the library while its token is usable
    };
    for _ in 0..60 {
        program.open_and_get(settings);
        if program.ask("due")[0] <= 15_500 {
            break;
        }
    }
    program.sleep_until_before_due(SOON);
    tenant.always(answer.clone());
    let before = tenant.requests();
    let (calls, recovered_at) = thread::scope(|scope| {
        let recovery = scope.spawn(|| {
            sleep(SOON + OUTAGE);
            tenant.normal();
            Instant::now()
        });
        (program.watch(8, WATCH.as_millis()), recovery.join().expect("a sleep"))
    });
    let times = tenant.request_times().split_off(before);
    let failures = times.iter().filter(|time| **time < recovered_at).count();
    let until_success = &times[..times.len().min(failures + 1)];
    let gap = |pair: &[Instant]| (pair[1] - pair[0]).as_secs_f64();
    let total = calls.len();
    let unserved = calls.iter().filter(|call| !call.served).count();
    let (waits, others): (Vec<Call>, Vec<Call>) =
        calls.into_iter().partition(|call| call.took > 500_000_000);
    Outage {
        calls: total,
        unserved,
        waits,
        others_p99: p99(&others),
        gaps: until_success.windows(2).map(gap).collect(),
        requests_after_success: times.len() - until_success.len(),
    }
}

impl Outage {
    fn most_waiting(&self) -> usize {
        let at =
            |time| self.waits.iter().filter(move |wait| (wait.start..wait.end()).contains(&time));
        self.waits.iter().map(|wait| at(wait.start).count()).max().unwrap_or(0)
    }

    fn closest(&self) -> f64 {
        self.gaps.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn is_good(&self) -> bool {
        self.unserved == 0
            && self.most_waiting() <= 1
            && longest(&self.waits) <= 3.1e9
            && self.others_p99 <= 1e5
            && self.gaps.len() >= 2
            && self.closest() >= 0.8
            && self.requests_after_success == 0
    }

    fn describe(&self) -> String {
        let served = match self.unserved {
            0 => "all served".to_owned(),
            unserved => format!("{unserved} of {} calls fail", self.calls),
        };
        let waits = match self.most_waiting() {
            0 => "no caller waits".to_owned(),
            most => {
                let verb = if most == 1 { "waits" } else { "wait" };
                format!("{most} at a time {verb}, {} at most", time(longest(&self.waits)))
            }
        };
        let requests = count(self.gaps.len() as i64 + 1, "request");
        let after = match self.requests_after_success {
            0 => "none after the first success".to_owned(),
            after => format!("{after} after the first success"),
        };
        format!(
            "{served}; {waits}, the others' p99 is {}; {requests}, {:.1} s apart or more, {after}",
            time(self.others_p99),
            self.closest()
        )
    }
}

/// How long the fastest and the slowest of eight calls took.
fn without_token(programs: &Programs, side: Side) -> (f64, f64) {
    let tenant = Tenant::start();
    tenant.always(Answer::Hang);
    let mut program = programs.start(side, &tenant);
    program.ask("open 5000 -1 0");
    let calls = program.watch(8, 0);
    assert!(calls.iter().all(|call| !call.served), "there was no token");
    (calls.iter().map(|call| call.took).min().unwrap_or(0) as f64, longest(&calls))
}

/// Issues a new token for every request.
pub fn tenant(life_s: u64) -> Builder {
    Tenant::builder().life(Duration::from_secs(life_s)).fresh_token_every_time()
}
