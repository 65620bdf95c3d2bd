//! Gates and forwards of a shared core that several frontends hold: each is told what happens,
//! and what is ended from elsewhere ends for those that held it.

use super::gate_faults::to_itself;
use bssh_fixtures::SshdOptions;
use bssh_protocol::gate::{GateEvent, GateParams};
use bssh_protocol::methods::{GateStart, GateStateEvent};
use bssh_tests::net::{echo, serve};
use bssh_tests::{Driver, Lab, Run, Shared};
use std::net::TcpStream;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn every_frontend_of_a_gate_is_told() {
    let shared = Shared::new(Lab::start());
    shared.lab.run(&["list", "--persist", "5m"]).expect_status(0);
    let target = serve(echo);
    let start = |most: u32| GateParams {
        inline: Some(to_itself(target, most)),
        replace: true,
        ..GateParams::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = shared.lab.sshd.ssh_config();
        let mut drivers = Vec::new();
        for _ in 0..3 {
            drivers.push(Driver::attach(&shared.socket(), &config).await);
        }
        let old = drivers[0].call::<GateStart>(&start(7)).await;
        assert_eq!(drivers[1].call::<GateStart>(&start(7)).await.gate, old.gate);
        let dial = || TcpStream::connect(&old.listeners[0].listen).unwrap();
        let opened = |conn: u64| move |e: &GateEvent| e.state == "connOpen" && e.conn == Some(conn);
        drop(dial());
        for driver in &drivers[..2] {
            driver.event::<GateStateEvent>(opened(1)).await;
        }
        drivers.remove(0).close().await;
        drop(dial());
        drivers[0].event::<GateStateEvent>(opened(2)).await;
        // Another gate takes its place: whoever had the old one hears that it is over.
        let new = drivers[1].call::<GateStart>(&start(8)).await;
        let over = |e: &GateEvent| e.state == "stopped" && e.gate == old.gate;
        drivers[0].event::<GateStateEvent>(over).await;
        assert_ne!(new.gate, old.gate);
        drop(dial());
        drivers[1].event::<GateStateEvent>(opened(3)).await;
        for driver in drivers {
            driver.close().await;
        }
    });
}

/// `gate start` and `forward add` end with what they hold, and say how that came.
#[test]
fn who_holds_what_is_over_ends() {
    let shared =
        Shared::new(Lab::with(&SshdOptions { listen: "127.0.0.1", ..SshdOptions::default() }));
    shared.lab.run(&["list", "--persist", "5m"]).expect_status(0);
    let socket = shared.lab.home.path().join("s");
    let text = format!(
        "gates:\n  g:\n    mode: proxy\n    socket: {}\n    restart: never\n    entries: \
         [{{ alias: t, hostname: 127.0.0.1 }}]\n",
        socket.display()
    );
    shared.lab.home.write(".config/bssh/config.yaml", text).unwrap();
    let hold = |words: &[&str], until: &str| {
        let mut run = Run::start(shared.lab.command(words));
        run.wait_for(until, SOON);
        run
    };
    let started = || hold(&["gate", "start", "g"], &socket.display().to_string());
    // What somebody has asked for is no failure.
    let held = started();
    shared.lab.run(&["gate", "stop", "g"]).expect_status(0);
    let said = held.finish(SOON).expect_status(0).stderr;
    assert!(said.contains("gate g: stopped"), "{said}");
    let held = started();
    std::fs::remove_file(&socket).unwrap();
    let said = held.finish(SOON).expect_status(1).stderr;
    assert!(said.contains("gate g: stopped") && said.contains("not our socket"), "{said}");
    let words = ["-H", "127.0.0.1", "forward", "add", "-D", "0", "-D", "0"];
    let held = hold(&words, "127.0.0.1:");
    let list = shared.lab.run(&["forward", "ls"]).expect_status(0).text();
    let ids: Vec<&str> = list.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(ids.len(), 2, "{list}");
    for id in ids {
        shared.lab.run(&["forward", "close", id]).expect_status(0);
    }
    let said = held.finish(SOON).expect_status(0).stderr;
    assert_eq!(said.matches(": closed").count(), 2, "{said}");
    shared.lab.run(&["core", "stop"]).expect_status(0);
}
