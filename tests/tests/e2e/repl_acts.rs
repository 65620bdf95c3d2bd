//! What the REPL does besides running lines: files, forwards, gates and the agent, settings of the
//! configuration, completion of commands, colours.

use crate::repl::{NODES, Screen, repl};
use bssh_tests::net::{connect, echo, echoes, free_port, serve};
use bssh_tests::{Lab, until};
use std::time::Duration;

const ONE: &str = "127.0.0.1";

#[test]
fn files_go_where_the_shells_are() {
    let lab = Lab::start();
    let (here, there) = (lab.home.path().join("here"), lab.sshd.file("there"));
    std::fs::create_dir_all(here.join("tree/sub")).unwrap();
    std::fs::create_dir(&there).unwrap();
    std::fs::write(here.join("a b.txt"), "text with blanks\n").unwrap();
    std::fs::write(here.join("tree/sub/deep"), "deep\n").unwrap();
    let mut t = repl(&lab, &["-H", ONE, "repl"]);
    t.see("[127.0.0.1] ~> ");
    t.line(&format!("cd {}", there.display()));
    t.see("there> ");
    // Completed here, with its blank quoted.
    t.keys(&format!(":upload {}/a\t", here.display()));
    t.see("a\\ b.txt");
    t.line(" copy.txt");
    t.see("1 file, 17 B in ");
    t.line(&format!(":upload -r {}/tree .", here.display()));
    t.see("1 file, 5 B in ");
    t.line("cat copy.txt tree/sub/deep");
    t.see("text with blanks\r\ndeep\r\n");
    t.line(&format!(":download copy.txt {}/back.txt", here.display()));
    t.see("1 file, 17 B in ");
    assert_eq!(std::fs::read_to_string(here.join("back.txt")).unwrap(), "text with blanks\n");
    // What is wrong is told, and the prompt is back.
    t.line(&format!(":download no-such-file {}", here.display()));
    t.see("1 of 1 nodes failed");
    t.line(":upload one");
    t.see("needs paths: :upload");
    t.line(":quit");
    t.end();
    // Several nodes in several places: a relative path would mean several things.
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    t.line("case $SSH_CONNECTION in *' 127.0.0.2 '*) cd /tmp;; esac");
    t.see("(3/3) *> ");
    t.line(&format!(":upload {}/back.txt x", here.display()));
    t.see("x: the active nodes are in different directories");
    t.line(&format!(":download {}/copy.txt {}/all", there.display(), here.display()));
    t.see("3 files, 51 B in ");
    assert!(here.join("all/127.0.0.2/copy.txt").exists());
    t.line(":quit");
    t.end();
}

#[test]
fn directories_are_kept_the_same_on_the_nodes_chosen() {
    let lab = Lab::start();
    let (here, there) = (lab.home.path().join("app"), lab.sshd.file("there"));
    std::fs::create_dir_all(&here).unwrap();
    std::fs::create_dir(&there).unwrap();
    std::fs::write(here.join("a.txt"), "from here\n").unwrap();
    let config = format!(
        "sync:\n  work:\n    target: {ONE}\n    pairs:\n      - {{ local: {}, remote: {}/named }}\n",
        here.display(),
        there.display()
    );
    let config = lab.home.write("config.yaml", config).unwrap().display().to_string();
    let mut t = repl(&lab, &["--config", &config, "-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    t.line("!127.0.0.1");
    t.see("[127.0.0.1 +2] ~> ");
    t.line(&format!("cd {}", there.display()));
    t.see("there> ");
    let app = here.display().to_string();
    // As `bssh sync plan` says it, and nothing is changed.
    t.line(&format!(":sync plan {app} app"));
    t.see("push a.txt\r\n");
    assert!(!there.join("app").exists());
    t.line(&format!(":sync push {app} app"));
    t.see("127.0.0.1: 1 sent; ");
    assert_eq!(std::fs::read_to_string(there.join("app/a.txt")).unwrap(), "from here\n");
    t.line(&format!(":sync status {app} app"));
    t.see(&format!("127.0.0.1:{}/app\r\n", there.display()));
    t.see("1 files and directories on both sides, 0 open conflicts\r\n");
    // Both sides change it: a copy beside it, and a conflict that can be listed.
    std::fs::write(here.join("a.txt"), "changed here, again\n").unwrap();
    std::fs::write(there.join("app/a.txt"), "changed there\n").unwrap();
    t.line(&format!(":sync back {app} app"));
    t.see("a.txt: changed on both sides; the node's is here as a.txt.conflict-remote-");
    t.line("#");
    t.line(&format!(":sync conflicts {app} app"));
    t.see("a.txt  a.txt.conflict-remote-");
    // A sync of the configuration names its node itself.
    t.line(":sync run work");
    t.see("127.0.0.1: 1 sent; ");
    assert!(there.join("named/a.txt").exists());
    // Several nodes, one after the other.
    t.line("!127.0.0.[2-3]");
    t.see("[127.0.0.[2-3] +1] ");
    for verb in ["push", "run"] {
        t.line(&format!(":sync {verb} {app} {}/all", there.display()));
        t.see("127.0.0.2: ");
        t.see("127.0.0.3: ");
    }
    t.line(":sync push nowhere");
    t.see("nowhere");
    t.line(":sync watch work");
    t.see("bssh sync watch does that beside the REPL");
    t.line(":quit");
    assert_eq!(t.end(), Some(2));
}

#[test]
fn forwards_are_opened_listed_and_closed() {
    let lab = Lab::start();
    let (target, local) = (serve(echo), free_port());
    let mut t = repl(&lab, &["-H", ONE, "repl"]);
    t.see("[127.0.0.1] ~> ");
    t.line(&format!(":forward -L {local}:127.0.0.1:{target}"));
    let shown = t.see("] 127.0.0.1  on 127.0.0.1:");
    let number =
        shown.rsplit_once("] 127.0.0.1  on").unwrap().0.rsplit_once('[').unwrap().1.to_owned();
    echoes(connect(local), b"through the forward").unwrap();
    t.line(":forward");
    t.see("-L ");
    t.see("open  0 open");
    t.line(&format!(":forward close {number}"));
    t.see("~> ");
    assert!(until(Duration::from_secs(10), || {
        std::net::TcpStream::connect(("127.0.0.1", local)).is_err()
    }));
    t.line(":forward");
    t.see("no forwards");
    t.line(":forward -L nonsense");
    t.see("nonsense");
    t.line(":forward close 77777");
    t.see("no forward 77777");
    t.line(":agent");
    t.see("no agent");
    t.line(":quit");
    t.end();
}

#[test]
fn gates_of_the_configuration_run_as_long_as_the_repl() {
    let lab = Lab::start();
    let port = free_port();
    let yaml = format!(
        "gates:\n  g:\n    mode: socks\n    socks_port: {port}\n    entries:\n      - {{ alias: a, \
         hostname: 127.0.0.1, port: {} }}\n",
        lab.sshd.port()
    );
    let config = lab.home.write("config.yaml", yaml).unwrap();
    let config = config.display().to_string();
    let mut t = repl(&lab, &["--config", &config, "-H", ONE, "repl"]);
    t.see("[127.0.0.1] ~> ");
    t.line(":gate");
    t.see("no gate runs");
    t.line(":gate start g");
    t.see(&format!("127.0.0.1:{port}"));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    t.line(":gate");
    t.see("g  ");
    t.line(":gate stop g");
    t.see("~> ");
    assert!(until(Duration::from_secs(10), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
    }));
    t.line(":gate start nowhere");
    t.see("nowhere");
    t.line(":quit");
    t.end();
}

#[test]
fn the_configuration_says_how_it_looks() {
    let lab = Lab::start();
    let history = lab.home.path().join("own-history");
    let yaml = format!(
        "interactive: {{ show_timestamps: true, history_file: {}, colors: {{ prompt: magenta }} }}\n\
         clusters:\n  lab:\n    nodes: [127.0.0.1, 127.0.0.2]\n    interactive: {{ prompt_format: \
         \"{{node}}:{{pwd}} {{ready}}/{{active}} {{user}}$ \", node_switch_prefix: \"%\" }}\n  \
         alone:\n    nodes: [127.0.0.3]\n    interactive: {{ default_mode: single_node }}\n  \
         pair:\n    nodes: [\"127.0.0.[3-4]\"]\n    interactive: {{ default_mode: single_node }}\n",
        history.display()
    );
    let config = lab.home.write("config.yaml", yaml).unwrap();
    let config = config.display().to_string();
    let mut command = lab.command(&["--config", &config, "-C", "lab", "repl"]);
    command.env("LC_ALL", "C.UTF-8");
    let mut t = Screen::start(&command);
    let user = lab.sshd.user().to_owned();
    let prompt = format!("\x1b[35m127.0.0.[1-2]:~ 2/2 {user}$ \x1b[0m");
    t.see(&prompt);
    t.line("echo hello");
    t.see("Z] ");
    t.see("hello\r\n");
    t.see("2/2");
    t.line("%127.0.0.[");
    t.see("; %list shows the nodes");
    t.line("%127.0.0.2");
    t.see("\x1b[35m127.0.0.2:~ 1/1");
    t.line("! false && echo the-shell-has-it");
    t.see("the-shell-has-it\r\n");
    // Colours while it is typed: known and unknown commands, quotes.
    t.keys(":status");
    t.see("\x1b[31m:status\x1b[0m");
    t.keys("\x15:session");
    t.see("\x1b[34m:session\x1b[0m");
    t.keys("\x15echo 'x y'");
    t.see("\x1b[32m'x y'\x1b[0m");
    t.keys("\x15");
    t.line(":set prompt \"own {pwd} \"");
    t.see("own ~ ");
    t.line(":quit");
    t.end();
    let text = std::fs::read_to_string(&history).unwrap();
    assert!(text.contains("echo hello"), "{text}");
    // A plain shell on the one node; a pair begins with the first one.
    let mut t = repl(&lab, &["--config", &config, "-C", "alone", "repl"]);
    t.see("on 127.0.0.3; ~. at the start of a line comes back");
    assert!(until(Duration::from_secs(20), || !t.terminal.echoes()));
    t.line("exit 4");
    assert_eq!(t.end(), Some(4));
    let mut t = repl(&lab, &["--config", &config, "-C", "alone", "repl", "--multiplex"]);
    t.see("[127.0.0.3] ~> ");
    t.line(":quit");
    t.end();
    let mut t = repl(&lab, &["--config", &config, "-C", "pair", "repl"]);
    t.see("[127.0.0.3 +1] ~> ");
    t.line(":quit");
    t.end();
}

#[test]
fn tab_completes_names_of_commands_on_the_node() {
    let lab = Lab::start();
    let dir = lab.sshd.file("tools");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("very-own-tool"), "#!/bin/sh\necho it-ran-$1\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.join("very-own-tool"), mode).unwrap();
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    t.line(&format!("PATH={}:$PATH; very_function() {{ :; }}", dir.display()));
    t.see("(3/3) ~> ");
    t.keys("true | very-o\t");
    t.see("very-own-tool");
    t.line(" now");
    t.see("it-ran-now\r\n");
    t.see("(3/3) ~> ");
    // A function of the session.
    t.keys("very_f\t");
    t.see("very_function");
    t.line("");
    t.see("(3/3) ~> ");
    t.line(":quit");
    t.end();
}

/// What a command has said by then can be much more than a person wants to see scroll by.
#[test]
fn after_ctrl_c_a_flood_is_cut_and_the_last_words_are_shown() {
    let lab = Lab::start();
    let mut t = repl(&lab, &["-H", "127.0.0.1", "repl"]);
    t.see("~> ");
    let flood = "yes a-flood | head -n 1000000; echo the-last words; exit 3";
    t.line(&format!("sh -c 'trap \"{flood}\" INT; echo re\"\"ady; while :; do sleep 0.1; done'"));
    t.see("ready\r\n");
    t.keys("\x03");
    let shown = t.see("~> ");
    assert!(shown.contains("the-last words"), "{shown}");
    assert!(shown.contains(" bytes were left out"), "{shown}");
    assert!(shown.len() < 500_000, "{} bytes", shown.len());
}
