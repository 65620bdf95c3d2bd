//! Which nodes a command line means, and what the last run has left of them.

use bssh_tests::{Lab, Run};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

const CONFIG: &str = "default_cluster: all\nclusters:\n  all: { nodes: [127.0.0.1, 127.0.0.2] }\n  \
                      second: { nodes: [127.0.0.2] }\n  third: { nodes: [127.0.0.3] }\n";

#[test]
fn a_flag_without_a_value_is_not_the_default_cluster() {
    let lab = Lab::start();
    lab.home.write(".config/bssh/config.yaml", CONFIG).unwrap();
    for words in [
        &["-H", "", "hostname"][..],
        &["-H", " ", "hostname"],
        &["-w", "", "-x", "127.0.0.1", "hostname"],
        &["-H", "", "ping"],
        &["--cluster", "", "hostname"],
    ] {
        let done = lab.run(words).expect_status(2);
        assert!(done.stderr.contains("names no nodes"), "{words:?}: {}", done.stderr);
        assert_eq!(done.text(), "");
    }
    let done = lab.run(&["--exclude", "127.0.0.1", "-N", "echo ran"]).expect_status(0);
    assert_eq!(done.text(), "ran\n", "who names none means the default");
}

#[test]
fn lists_of_groups_are_groups() {
    let lab = Lab::start();
    lab.home.write(".config/bssh/config.yaml", CONFIG).unwrap();
    for (words, want) in [
        (&["-g", "second,third"][..], "127.0.0.2\n127.0.0.3\n"),
        (&["--cluster", "second,third"], "127.0.0.2\n127.0.0.3\n"),
        (&["-H", "127.0.0.[1-4]", "-X", "second,third"], "127.0.0.1\n127.0.0.4\n"),
    ] {
        let done = lab.run(&[words, &["nodes", "expand"]].concat()).expect_status(0);
        assert_eq!(done.text(), want, "{words:?}");
    }
}

#[test]
fn files_have_any_name() {
    let lab = Lab::start();
    let hosts = lab.home.write("x,y/h!1 \"b\"", "127.0.0.1\n127.0.0.2\n").unwrap();
    let key = lab.home.write("a b/key", "").unwrap();
    let words = ["-i", key.to_str().unwrap(), "--hostfile", hosts.to_str().unwrap()];
    let done = lab.run(&[&words[..], &["-N", "echo ran"]].concat()).expect_status(0);
    assert_eq!(done.text(), "ran\nran\n");
    let state = lab.home.path().join("a,b");
    let run = |words: &[&str]| {
        let mut command = lab.command(words);
        command.env("XDG_STATE_HOME", &state);
        Run::start(command).finish(SOON)
    };
    run(&["-H", "127.0.0.[1-2]", "false"]).expect_status(5);
    run(&["-H", "@failed", "true"]).expect_status(0);
}

#[test]
fn a_node_that_was_not_tried_is_not_unreachable() {
    let lab = Lab::start();
    let words = ["-H", "127.0.0.[1-3]", "--fail-fast=1", "-f", "1", "false"];
    let done = lab.run(&words).expect_status(10);
    assert!(done.stderr.contains("127.0.0.[2-3]: not started"), "{}", done.stderr);
    let done = lab.run(&["-H", "@failed", "-N", "echo ran"]).expect_status(0);
    assert_eq!(done.text(), "ran\n".repeat(3));
    lab.run(&["-H", "127.0.0.[1-3]", "--fail-fast=1", "-f", "1", "false"]);
    let done = lab.run(&["-H", "@unreachable", "true"]).expect_status(2);
    assert!(done.stderr.contains("no nodes are left"), "{}", done.stderr);
}

#[test]
fn a_typing_error_is_not_the_nodes_fault() {
    let lab = Lab::start();
    let words = ["-H", "127.0.0.[1-2]", "-o", "ConnectTimeuot=3", "true"];
    let done = lab.run(&words).expect_status(2);
    assert!(done.stderr.contains("connecttimeuot"), "{}", done.stderr);
    lab.run(&["-H", "@unreachable", "true"]).expect_status(2);
}

#[test]
fn a_configuration_from_a_pipe_is_read() {
    let lab = Lab::start();
    let config = lab.home.write("clusters.yaml", CONFIG).unwrap();
    let bssh = lab.command(&["--cluster", "second", "-N", "echo ran"]);
    let mut shell = lab.home.command("bash");
    let line = format!("\"$0\" --config <(cat {}) \"$@\"", config.display());
    shell.arg("-c").arg(line).arg(bssh.get_program()).args(bssh.get_args());
    let done = Run::start(shell).finish(SOON).expect_status(0);
    assert_eq!(done.text(), "ran\n");
}

/// Batches end with the run: there is nothing to wait for after the last failure that is allowed.
#[test]
fn a_run_that_has_given_up_does_not_pause() {
    let lab = Lab::start();
    let targets = ["-H", "127.0.0.[1-3]", "--batch", "1,rest", "--pause", "100", "--fail-fast=1"];
    let done = lab.run(&[&targets[..], &["false"]].concat()).expect_status(10);
    assert!(done.took < Duration::from_secs(60), "{:?}", done.took);
}

#[test]
fn a_mistyped_cluster_is_told_which_there_are() {
    let lab = Lab::start();
    lab.home.write(".config/bssh/config.yaml", CONFIG).unwrap();
    let done = lab.run(&["-C", "secnod.invalid", "uptime"]).expect_status(255);
    assert!(done.stderr.contains("clusters are all, second, third"), "{}", done.stderr);
}

#[test]
fn a_cluster_of_the_environment_is_a_cluster() {
    let lab = Lab::start();
    let mut command = lab.command(&["-C", "bai_auto", "nodes", "expand"]);
    command.env("BACKENDAI_CLUSTER_HOSTS", "127.0.0.1,127.0.0.2");
    let done = Run::start(command).finish(SOON).expect_status(0);
    assert_eq!(done.text(), "127.0.0.1\n127.0.0.2\n");
}
