//! Many threads, short-lived clients and forks, against a mock tenant that fails more than half of
//! the requests. Runs for ten seconds, or ONEACCESS_SOAK_S seconds.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use support::native::{Library, Program, has, succeed, with_tenant};
use support::rng::Rng;
use support::tenant::{Answer, Tenant};

fn fault(rng: &mut Rng) -> Answer {
    let json = |status, body| Answer::json(status, body);
    let ms = |ms| Duration::from_millis(ms);
    match rng.below(14) {
        0 => Answer::Hang,
        1 => Answer::Reset,
        2 => Answer::ResetAtAccept,
        3 => Answer::CloseAtAccept,
        4 => Answer::StallHandshake,
        5 => json(500, "{\"error_code\":\"IDAAS.TENANT.COM.0002\",\"error_msg\":\"busy\"}"),
        6 => Answer::status(503).header("Retry-After", "1"),
        7 => json(429, "{\"error_code\":\"APIG.0308\"}"),
        8 => Answer::html(502, "<html><title>Bad gateway</title></html>"),
        9 => Answer::Cut { bytes: b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{\"acc".to_vec() },
        10 => Answer::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        11 => Answer::Drip { bytes: b"HTTP/1.1 200 OK\r\n".to_vec(), every: ms(100) },
        12 => Answer::Normal.delayed(ms(700)),
        _ => json(200, "{\"access_token\":\"a b\",\"expires_in\":1e400}"),
    }
}

#[test]
fn soak_among_faults_leaks_nothing() {
    if !has("cc", "gcc") {
        return;
    }
    let seconds = std::env::var("ONEACCESS_SOAK_S").unwrap_or_else(|_| "10".to_owned());
    let flags = ["-std=gnu11", "-pthread"];
    let program = Program::compile("cc", "tests/c/soak.c", &flags, Library::Shared);
    let tenant = Tenant::builder().life(Duration::from_secs(3)).fresh_token_every_time().start();
    let over = AtomicBool::new(false);
    let said = thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng::new(60);
            let mut asked = 0;
            while !over.load(Ordering::Relaxed) {
                // Keep eight answers queued, three of five of them faults. Each connection uses one.
                while asked < tenant.connections() + 8 {
                    let is_fault = rng.below(5) < 3;
                    tenant.next(if is_fault { fault(&mut rng) } else { Answer::Normal });
                    asked += 1;
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        let limit = seconds.parse::<u64>().expect("ONEACCESS_SOAK_S is a number") + 120;
        let mut command = std::process::Command::new("timeout");
        command.args(["-s", "KILL", &limit.to_string()]).arg(program.path()).arg(&seconds);
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            succeed(with_tenant(&mut command, &tenant))
        }));
        over.store(true, Ordering::Relaxed);
        said.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    println!("{} requests; {said}", tenant.requests());
    assert!(tenant.requests() > 20, "{said}");
}
