//! The demo, as a newcomer runs it.

use bssh_fixtures::{Home, processes};
use bssh_tests::{Run, bssh, until};
use rustix::process::Signal;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn the_demo_shows_eight_nodes_and_a_summary() {
    let home = Home::new().unwrap();
    // With and without a terminal.
    let terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    for wrapper in [None, Some(["python3", "-c", terminal])] {
        let mut command = match wrapper {
            None => home.command(bssh()),
            Some([program, ..]) => home.command(program),
        };
        command.args(wrapper.iter().flat_map(|w| &w[1..]));
        command.args(wrapper.map(|_| bssh()));
        command.arg("demo");
        let done = Run::start(command).finish(DEADLINE).expect_status(0);
        let all = format!("{}{}", done.text(), done.stderr);
        for node in 1..=8 {
            let line = format!("hello from demo{node}");
            assert!(all.contains(&line), "{line}\n{all}");
        }
        assert!(all.contains("Summary: 8 nodes"), "{all}");
    }
}

#[test]
fn the_demo_runs_what_it_is_told() {
    let home = Home::new().unwrap();
    let mut command = home.command(bssh());
    command.args(["demo", "-n", "3", "echo $NODE; exit 4"]);
    let done = Run::start(command).finish(DEADLINE).expect_status(5);
    assert!(done.text().contains("demo3"), "{}", done.text());
}

#[test]
fn kept_nodes_stay_until_interrupted() {
    let home = Home::new().unwrap();
    let mut command = home.command(bssh());
    command.args(["demo", "-n", "2", "--keep", "echo up $NODE"]);
    let mut run = Run::start(command);
    run.wait_for("up demo2", DEADLINE);
    let pid = run.pid();
    // Its core is gone once the run is over.
    assert!(until(DEADLINE, || processes::descendants(pid).is_empty()));
    run.signal(Signal::INT);
    let done = run.finish(DEADLINE).expect_status(0);
    assert!(done.stderr.contains("-C demo"), "{}", done.stderr);
}
