//! Days of a shared core in minutes: commands of every kind in an order nobody chose, connections
//! that are cut, agents that are started again, frontends that are killed, a machine that sleeps.
//! What is counted is what stays behind. The short form is always run, the whole one with the
//! other soaks: twenty minutes, or as many as `BSSH_SOAK` says.

#![allow(clippy::print_stderr, reason = "figures for people, shown with --nocapture")]

use crate::soak::{of, rss};
use bssh_fixtures::processes;
use bssh_tests::{Agent, Lab, Run, Shared, descriptors, until};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
/// Kept connections are closed soon, so that what else stays can be counted.
const LINGER: &str = "2";

/// What the core has when nobody uses it.
#[derive(Debug, Clone, Copy)]
struct Idle {
    fds: usize,
    tasks: u64,
    kb: u64,
}

/// Somebody's day.
struct Day {
    shared: Shared,
    agent: Agent,
    dice: u64,
    /// How often each step was taken.
    steps: BTreeMap<&'static str, usize>,
}

type Step = (&'static str, fn(&mut Day));

const STEPS: [Step; 10] = [
    ("cluster", Day::cluster),
    ("ssh", Day::ssh),
    ("agent", Day::agent),
    ("upload", Day::upload),
    ("detached", Day::detached),
    ("terminal", Day::terminal),
    ("forward", Day::forward),
    ("killed frontend", Day::killed_frontend),
    ("cut", Day::cut),
    ("agent and machine away", Day::away),
];

/// How long the whole form takes: as many minutes as `BSSH_SOAK` says, if it says more than yes.
#[allow(clippy::disallowed_methods, reason = "tests are told by their environment")]
fn minutes() -> usize {
    let told = std::env::var("BSSH_SOAK").ok().and_then(|told| told.parse().ok());
    told.filter(|minutes| *minutes > 1).unwrap_or(20)
}

#[test]
fn a_day_of_a_shared_core_leaves_nothing_behind() {
    let mut day = Day::begin();
    for _ in 0..2 {
        STEPS.iter().for_each(|step| day.take(*step));
    }
    let fresh = day.settled(None);
    let length = Duration::from_secs(60 * of(0, minutes()) as u64) / 2;
    let least = of(10, 50);
    let before = day.pass(least, length);
    // What it keeps of what is over, and its most at once, is there after half of the time.
    let warm = day.settled(Some(fresh));
    let begun = Instant::now();
    let taken = day.pass(least, length);
    let took = begun.elapsed();
    let after = day.settled(Some(fresh));
    eprintln!(
        "shared core: {before} and {taken} steps, those in {took:.0?}: {fresh:?}, {warm:?}, {after:?}; {:?}",
        day.steps
    );
    // Short, the most at once is still to come.
    let most = if length.is_zero() { warm.kb + 32 * 1024 } else { warm.kb + warm.kb / 10 };
    assert!(after.kb < most, "{warm:?}, {after:?}");
}

impl Day {
    /// Takes steps: at least so many, and for so long.
    fn pass(&mut self, least: usize, length: Duration) -> usize {
        let (begun, mut taken) = (Instant::now(), 0);
        while taken < least || begun.elapsed() < length {
            let step = STEPS[self.roll(STEPS.len())];
            self.take(step);
            taken += 1;
        }
        taken
    }

    fn begin() -> Day {
        let shared = Shared::new(Lab::start());
        let words = ["core", "serve", "--idle", "1h", "--linger", LINGER];
        shared.lab.run_bare(&words).expect_status(0);
        let agent = Agent::start(&shared.lab.home, "agent");
        let mut day = Day { shared, agent, dice: 7, steps: BTreeMap::new() };
        day.agent_again();
        day
    }

    fn take(&mut self, (name, step): Step) {
        *self.steps.entry(name).or_default() += 1;
        step(self);
    }

    /// A number below `n`, the same ones each time.
    fn roll(&mut self, n: usize) -> usize {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.dice >> 33) as usize % n
    }

    fn nodes(&mut self) -> String {
        format!("127.0.0.[1-{}]", 1 + self.roll(6))
    }

    fn core(&self) -> Pid {
        self.shared.pid().expect("the core is there")
    }

    /// Waits until nothing is in use or kept, and no more is left than before.
    #[track_caller]
    fn settled(&self, before: Option<Idle>) -> Idle {
        let mut now = None;
        let flat = until(SOON, || {
            let text = self.shared.lab.run_bare(&["core", "metrics"]).expect_status(0).text();
            let value = |name: &str| -> u64 {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|value| value.trim().parse().ok()).expect(name)
            };
            let quiet = ["connections", "connections_idle", "runs", "forwards", "ptys"]
                .iter()
                .all(|name| value(&format!("bssh_{name} ")) == 0);
            let pid = self.core().as_raw_nonzero().get();
            let (fds, tasks, kb) = (descriptors(pid), value("bssh_tasks "), rss(pid));
            now = Some(Idle { fds, tasks, kb });
            quiet && before.is_none_or(|before| fds <= before.fds && tasks <= before.tasks)
        });
        assert!(flat, "{before:?} before, {now:?} after {:?}", self.steps);
        now.expect("it was looked at")
    }

    fn cluster(&mut self) {
        let (nodes, n) = (self.nodes(), self.roll(100_000));
        let words = ["-H", &nodes, "-b", &format!("head -c {n} /dev/zero")];
        self.shared.lab.run(&words).expect_status(0);
        let status = self.roll(2) * 3;
        let words = ["-H", &nodes, "-S", &format!("exit {status}")];
        self.shared.lab.run(&words).expect_status(i32::try_from(status).expect("a status"));
    }

    fn ssh(&mut self) {
        let status = self.roll(100);
        let words = ["127.0.0.1", &format!("cat; exit {status}")];
        let done = self.shared.lab.feed(&words, b"in\n");
        let done = done.expect_status(i32::try_from(status).expect("a status"));
        assert_eq!(done.text(), "in\n");
    }

    fn agent(&mut self) {
        let option = format!("ForwardAgent={}", self.agent.path());
        let words = ["-o", &option, "127.0.0.1", "ssh-add -l"];
        self.shared.lab.run(&words).expect_status(0);
    }

    fn agent_again(&mut self) {
        self.agent.signal(Signal::KILL);
        self.agent = Agent::start(&self.shared.lab.home, "agent");
        let key = self.shared.lab.sshd.user_key().display().to_string();
        self.agent.add(&self.shared.lab.home, &["-q", &key]);
    }

    fn upload(&mut self) {
        let nodes = self.nodes();
        let bytes = vec![7; self.roll(300_000)];
        let file = self.shared.lab.home.write("file", bytes).expect("a file");
        let to = self.shared.lab.home.path().join("copy");
        let (file, to) = (file.display().to_string(), to.display().to_string());
        self.shared.lab.run(&["-H", &nodes, "upload", &file, &to]).expect_status(0);
    }

    fn detached(&mut self) {
        let nodes = self.nodes();
        let words = ["--detach", "-H", &nodes, "echo later"];
        let job = self.shared.lab.run(&words).expect_status(0).text().trim().to_owned();
        let waited = self.shared.lab.run_bare(&["job", "wait", &job]);
        let logs = self.shared.lab.run_bare(&["job", "logs", &job]);
        assert_eq!(waited.status, Some(0), "{}{}", logs.text(), logs.stderr);
        assert!(logs.expect_status(0).text().contains("later"));
    }

    fn terminal(&mut self) {
        let done = self.shared.lab.run(&["-tt", "127.0.0.1", "tty; exit 3"]).expect_status(3);
        assert!(done.text().contains("/dev/"), "{}", done.text());
    }

    fn forward(&mut self) {
        let words = ["-H", "127.0.0.1", "forward", "add", "-D", "0"];
        let mut run = Run::start(self.shared.lab.command(&words));
        run.wait_for("-D", SOON);
        run.signal(Signal::TERM);
        run.finish(SOON);
    }

    fn killed_frontend(&mut self) {
        let mark = "1007.88";
        let nodes = self.nodes();
        let script = format!("echo there; sleep {mark}");
        let mut run = Run::start(self.shared.lab.command(&["-H", &nodes, "--stream", &script]));
        run.wait_for("there", SOON);
        run.signal(Signal::KILL);
        run.finish(SOON);
        let left = || processes::with_text(mark).iter().any(|p| p.command.starts_with("sleep "));
        assert!(until(SOON, || !left()), "what it ran has ended");
    }

    /// One of the connections is lost, with a command on it or without.
    fn cut(&mut self) {
        let busy = self.roll(2) == 0;
        let mut run = busy.then(|| {
            let words = ["-H", "127.0.0.[1-4]", "--stream", "echo there; sleep 0.3"];
            Run::start(self.shared.lab.command(&words))
        });
        if let Some(run) = &mut run {
            run.wait_for("there", SOON);
        }
        let daemon = self.shared.lab.sshd.pid();
        let all = processes::descendants(daemon);
        let servers: Vec<i32> = all.iter().filter(|p| p.parent == daemon).map(|p| p.pid).collect();
        if !servers.is_empty() {
            let server = servers[self.roll(servers.len())];
            let whole = processes::descendants(server);
            processes::kill(server);
            // It, or what it leaves behind, takes commands for a moment, and loses them.
            let is_left = |pid| pid == server || whole.iter().any(|process| process.pid == pid);
            let ended = || !processes::all().iter().any(|process| is_left(process.pid));
            assert!(until(SOON, ended), "{whole:?}");
        }
        if let Some(run) = run {
            run.finish(SOON);
        }
    }

    /// Another agent, and a machine that was asleep for a moment.
    fn away(&mut self) {
        self.agent_again();
        kill_process(self.core(), Signal::STOP).expect("our process");
        let run = Run::start(self.shared.lab.command(&["-H", "127.0.0.1", "echo awake"]));
        std::thread::park_timeout(Duration::from_millis(300));
        kill_process(self.core(), Signal::CONT).expect("our process");
        assert!(run.finish(SOON).expect_status(0).text().contains("awake"));
    }
}
