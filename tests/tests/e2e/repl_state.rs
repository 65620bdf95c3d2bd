//! The REPL's lines about the nodes and their state: how they are, connecting again, beginning
//! anew, and syncs that go wrong.

use crate::repl::{NODES, lose_all, repl};
use bssh_tests::Lab;

#[test]
fn lost_nodes_are_told_with_their_cause_and_connected_again_at_once() {
    let mut lab = Lab::start();
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    t.line("!status");
    let shown = t.see("(3/3) ~> ");
    assert!(shown.contains("3 of 3 nodes are there, 3 are active\r\n"), "{shown}");
    assert!(!shown.contains('✗'), "{shown}");
    // Nobody is lost: nothing is done.
    t.line("!reconnect");
    t.see("connecting to 0 nodes\r\n");
    t.see("(3/3) ~> ");
    t.line("cd /tmp; export KEPT=yes");
    t.see("(3/3) /tmp> ");
    lose_all(&mut lab, &mut t);
    t.line("!127.0.0.[1-2]");
    t.see("+1] (0/2) /tmp> ");
    // Each with its cause, also those that are not active.
    t.line("!reconnect");
    t.see("connecting to 3 nodes\r\n");
    t.see("(0/2) /tmp> ");
    t.line("!status");
    t.see("0 of 3 nodes are there, 2 are active\r\n");
    for n in 1..=3 {
        let shown = t.see("next try in ");
        assert!(shown.contains(&format!("✗ 127.0.0.{n}: ")), "{shown}");
    }
    t.see("(0/2) /tmp> ");
    lab.sshd.restart().unwrap();
    t.line("!reconnect");
    for _ in 0..3 {
        t.see(": back in /tmp");
    }
    t.line("!all");
    t.see("(3/3) /tmp> ");
    t.line("!status");
    t.see("3 of 3 nodes are there, 3 are active\r\n");
    t.line("echo \"$KEPT-$((1+1))\"");
    t.see("yes-2\r\n");
    t.see("(3/3) /tmp> ");
    t.line(":quit");
    assert_eq!(t.end(), Some(0));
}

#[test]
fn a_reset_forgets_the_state_of_the_active_nodes_and_no_other() {
    let mut lab = Lab::start();
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    let state = "cd /tmp; export KEPT=yes; f() { echo \"f-$KEPT\"; }; umask 027";
    t.line(state);
    t.see("(3/3) /tmp> ");
    t.line("!127.0.0.1");
    t.see("[127.0.0.1 +2] /tmp> ");
    t.line(":reset");
    t.see("[127.0.0.1 +2] ~> ");
    t.line("f 2>/dev/null || echo \"none-${KEPT-gone}\"; umask");
    let shown = t.see("[127.0.0.1 +2] ~> ");
    assert!(shown.contains("none-gone\r\n") && !shown.contains("027"), "{shown}");
    t.line("!127.0.0.[2-3]");
    t.see("+1] /tmp> ");
    t.line("f; umask");
    let shown = t.see("+1] /tmp> ");
    assert!(shown.contains("f-yes\r\n0027\r\n"), "{shown}");
    t.line("!all");
    t.see("(3/3) *> ");
    // What is lost meanwhile has no state when it comes back, and the prompt does not wait for it.
    t.line(state);
    t.see("(3/3) /tmp> ");
    lose_all(&mut lab, &mut t);
    t.line(":reset");
    t.see("(0/3) ");
    lab.sshd.restart().unwrap();
    t.line("!reconnect");
    for _ in 0..3 {
        t.see(": back in ");
    }
    t.line("echo \"now-${KEPT-gone}\"");
    t.see("now-gone\r\n");
    t.see("(3/3) ~> ");
    t.line(":quit");
    assert_eq!(t.end(), Some(0));
}

#[test]
fn a_sync_that_goes_wrong_says_why_and_the_prompt_is_back() {
    let lab = Lab::start();
    let (here, there) = (lab.home.path().join("app"), lab.sshd.file("there"));
    std::fs::create_dir_all(&here).unwrap();
    std::fs::create_dir(&there).unwrap();
    std::fs::write(here.join("a.txt"), "from here\n").unwrap();
    let mut t = repl(&lab, &["-H", "127.0.0.1", "repl"]);
    t.see("[127.0.0.1] ~> ");
    let (here, there) = (here.display(), there.display());
    for (typed, said) in [
        (":sync", ":sync plan|push|back|run|status|conflicts"),
        (":sync fetch a b", ":sync plan|push|back|run|status|conflicts"),
        (":sync run nowhere", "no sync is called \"nowhere\""),
        (&*format!(":sync push {here}/none {there}/none"), "none"),
        (&*format!(":sync run {here} {there}/a/file"), "sent"),
        (&*format!(":sync run {here} {there}/a/file/a.txt"), "127.0.0.1"),
    ] {
        t.line(typed);
        t.see(said);
        t.see("[127.0.0.1] ~> ");
    }
    // The node's session is as it was.
    t.line("echo still-$((1+1))");
    t.see("still-2\r\n");
    t.line(":quit");
    t.end();
}
