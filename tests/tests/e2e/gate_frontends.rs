//! Gates and forwards of a shared core that several frontends hold: each is told what happens,
//! and what is ended from elsewhere ends for those that held it.

use bssh_protocol::gate::{AddressMode, GateEntry, GateEvent, GateParams, GateSpec};
use bssh_protocol::methods::{GateStart, GateStateEvent};
use bssh_tests::net::{echo, serve};
use bssh_tests::{Driver, Lab, Shared};
use std::net::TcpStream;

#[test]
fn every_frontend_of_a_gate_is_told() {
    let shared = Shared::new(Lab::start());
    shared.lab.run(&["list", "--persist", "5m"]).expect_status(0);
    let target = serve(echo);
    let spec = |most: u32| GateSpec {
        name: "g".to_owned(),
        address_mode: AddressMode::PerUpstream,
        banner_check: false,
        max_conns: most,
        entries: vec![GateEntry {
            alias: "t".to_owned(),
            hostname: "127.0.0.1".to_owned(),
            port: target,
            ..GateEntry::default()
        }],
        ..GateSpec::default()
    };
    let start =
        |most: u32| GateParams { inline: Some(spec(most)), replace: true, ..GateParams::default() };
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
        let opened =
            |conn: u64| move |e: &GateEvent| e.state == "connOpen" && e.conn == Some(conn);
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
