//! The core's questions, answered by a person at the terminal or by an askpass program.
//!
//! One question at a time, on `/dev/tty`; stdin and stdout are never touched. `SSH_ASKPASS` and
//! `SSH_ASKPASS_REQUIRE` work as in ssh(1). `BSSH_PASSWORD` answers the first request for a
//! password of each node; a node that refuses it asks a person.

use crate::environment::Environment;
use bssh_client::{Answer, Prompter};
use bssh_protocol::auth::{
    ConfirmAnswer, ConfirmQuestion, HostKeyAnswer, HostKeyQuestion, PromptAnswer, PromptField,
    PromptKind, PromptQuestion, Secret, TrustScope,
};
use bssh_term::Typed;
use rustix::process::{Signal, kill_current_process_group};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Mutex, oneshot, watch};
use zeroize::Zeroizing;

/// The program where `SSH_ASKPASS` names none, as in ssh.
const ASKPASS: &str = "/usr/bin/ssh-askpass";
/// How often such a program may give no answer to a question.
const PROGRAM_TRIES: usize = 3;

/// Asks on the terminal or through askpass.
#[derive(Debug)]
pub(crate) struct TerminalPrompter {
    way: Way,
    password: Option<Secret>,
    /// Held while a question is on the terminal.
    turn: Mutex<()>,
    open: AtomicUsize,
    /// Ctrl-C at a question ends the program and not only the question.
    fatal: AtomicBool,
    /// A view has the whole screen: questions wait until it has given it back.
    full_screen: watch::Sender<bool>,
}

/// How a person can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Terminal,
    Askpass(OsString),
    Nobody,
}

/// What is wanted of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Secret,
    Text,
    YesNo,
}

impl TerminalPrompter {
    /// Takes the password out of the environment.
    pub(crate) fn new(environment: &mut Environment) -> Self {
        let terminal = std::fs::File::options().read(true).write(true).open("/dev/tty").is_ok();
        TerminalPrompter {
            way: way(environment, terminal),
            password: environment.password.take(),
            turn: Mutex::new(()),
            open: AtomicUsize::new(0),
            fatal: AtomicBool::new(false),
            full_screen: watch::Sender::new(false),
        }
    }

    /// A question is on the terminal: nothing else should be drawn.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// A view has taken the whole screen, or has given it back for a question.
    pub(crate) fn yield_to_full_screen(&self, taken: bool) {
        self.full_screen.send_replace(taken);
    }

    /// From here on Ctrl-C at a question ends the program, as in ssh, or no longer does.
    pub(crate) fn set_fatal(&self, fatal: bool) {
        self.fatal.store(fatal, Ordering::Relaxed);
    }

    async fn ask(&self, text: String, want: Want) -> Option<Zeroizing<String>> {
        let _turn = self.turn.lock().await;
        let _open = Open::new(&self.open);
        if self.way == Way::Terminal {
            // The sender is ours: it does not go.
            let _ = self.full_screen.subscribe().wait_for(|taken| !taken).await;
        }
        match &self.way {
            Way::Terminal => self.ask_terminal(text, want).await,
            Way::Askpass(program) => ask_program(program, &text, want).await,
            Way::Nobody => None,
        }
    }

    /// What the terminal makes signals of goes to everybody on it, as it would have sent it.
    async fn ask_terminal(&self, text: String, want: Want) -> Option<Zeroizing<String>> {
        loop {
            match read_terminal(text.clone(), want).await? {
                Typed::Line(line) => return Some(line),
                // The shell takes over here; the question is asked again after `fg`.
                Typed::Signal(Signal::TSTP) => kill_current_process_group(Signal::TSTP).ok()?,
                Typed::Signal(signal) if self.fatal.load(Ordering::Relaxed) => {
                    let _ = kill_current_process_group(signal);
                    bssh_term::die_of(signal.as_raw());
                    return None;
                }
                Typed::Signal(_) | Typed::Cancelled => return None,
            }
        }
    }

    async fn trust(&self, question: HostKeyQuestion) -> HostKeyAnswer {
        let mut text = host_key_text(&question);
        // A person has patience, a program has none.
        let tries = if self.way == Way::Terminal { usize::MAX } else { PROGRAM_TRIES };
        for _ in 0..tries {
            let Some(answer) = self.ask(text, Want::Text).await else { break };
            match trusted(answer.trim(), &question.key.fingerprint) {
                Some(true) => return HostKeyAnswer::Accept { scope: TrustScope::File },
                Some(false) => break,
                None => text = "Please type 'yes', 'no' or the fingerprint: ".to_owned(),
            }
        }
        HostKeyAnswer::Reject
    }

    async fn answer(&self, question: PromptQuestion) -> PromptAnswer {
        if let Some(answers) = self.by_environment(&question) {
            return PromptAnswer::Answered { answers };
        }
        let mut answers = BTreeMap::new();
        for field in &question.fields {
            let want = if field.echo { Want::Text } else { Want::Secret };
            let Some(typed) = self.ask(field_text(&question, field), want).await else {
                return PromptAnswer::Cancelled;
            };
            answers.insert(field.id.clone(), Secret::new(typed.as_str()));
        }
        PromptAnswer::Answered { answers }
    }

    /// `BSSH_PASSWORD`, if the question is the first one for a password.
    fn by_environment(&self, question: &PromptQuestion) -> Option<BTreeMap<String, Secret>> {
        let password = self.password.as_ref()?;
        let kind = matches!(question.kind, PromptKind::Password | PromptKind::KeyboardInteractive);
        match question.fields.as_slice() {
            [field] if kind && !field.echo && question.attempt <= 1 => {
                Some(BTreeMap::from([(field.id.clone(), Secret::new(password.reveal()))]))
            }
            _ => None,
        }
    }
}

impl Prompter for TerminalPrompter {
    fn kinds(&self) -> Vec<String> {
        let kinds: &[&str] = match (&self.way, &self.password) {
            (Way::Nobody, None) => &[],
            (Way::Nobody, Some(_)) => &["password"],
            _ => &["hostKey", "password", "otp", "passphrase", "confirm"],
        };
        kinds.iter().map(|k| (*k).to_owned()).collect()
    }

    fn host_key(&self, question: HostKeyQuestion) -> Answer<'_, HostKeyAnswer> {
        Box::pin(self.trust(question))
    }

    fn prompt(&self, question: PromptQuestion) -> Answer<'_, PromptAnswer> {
        Box::pin(self.answer(question))
    }

    fn confirm(&self, question: ConfirmQuestion) -> Answer<'_, ConfirmAnswer> {
        Box::pin(async move {
            let text = format!("{} (yes/no)? ", question.text);
            match self.ask(text, Want::YesNo).await.as_deref().map(|t| t.trim()) {
                Some("yes" | "y" | "") => ConfirmAnswer::Yes,
                Some(_) => ConfirmAnswer::No,
                None => ConfirmAnswer::Cancelled,
            }
        })
    }
}

/// Counts open questions; forgets its own when dropped, also in the middle of one.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Open(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// As ssh does by `SSH_ASKPASS_REQUIRE`; without `DISPLAY` only `force` runs a program.
fn way(environment: &Environment, terminal: bool) -> Way {
    let program = environment.askpass.clone().unwrap_or_else(|| ASKPASS.into());
    let by_terminal = if terminal { Way::Terminal } else { Way::Nobody };
    match (&*environment.askpass_require.to_ascii_lowercase(), terminal, environment.display) {
        ("never", ..) => by_terminal,
        ("force", ..) | ("prefer", _, true) | (_, false, true) => Way::Askpass(program),
        _ => by_terminal,
    }
}

/// On a thread of its own: reading a terminal blocks, and signals must be heard meanwhile.
async fn read_terminal(text: String, want: Want) -> Option<Typed> {
    let (tell, typed) = oneshot::channel();
    std::thread::spawn(move || {
        let typed = match want {
            Want::Secret => bssh_term::read_secret(&text),
            Want::Text | Want::YesNo => bssh_term::read_line(&text),
        };
        // Nobody waits any more if the question was withdrawn.
        let _ = tell.send(typed);
    });
    typed.await.ok()?.ok()
}

/// The answer to a host key question as ssh reads it; none: it is asked again.
fn trusted(answer: &str, fingerprint: &str) -> Option<bool> {
    match answer {
        "" => Some(false),
        no if no.eq_ignore_ascii_case("no") => Some(false),
        yes if yes.eq_ignore_ascii_case("yes") || yes == fingerprint => Some(true),
        _ => None,
    }
}

/// Runs the askpass program; its first line is the answer, failure means "cancelled".
async fn ask_program(program: &OsString, text: &str, want: Want) -> Option<Zeroizing<String>> {
    let mut command = tokio::process::Command::new(program);
    command.arg(text).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command.env_remove("BSSH_PASSWORD");
    if want == Want::YesNo {
        command.env("SSH_ASKPASS_PROMPT", "confirm");
    }
    let output = command.output().await.ok().filter(|o| o.status.success())?;
    let text = Zeroizing::new(String::from_utf8(output.stdout).ok()?);
    Some(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn host_key_text(q: &HostKeyQuestion) -> String {
    let via = q.hop.as_ref().map(|_| format!(" (on the way to {})", q.node));
    let known = match q.known.is_empty() {
        true => "This key is not known by any other names.".to_owned(),
        false => {
            format!("This host key is known by the following other names: {}", q.known.join(", "))
        }
    };
    format!(
        "The authenticity of host '{}'{} can't be established.\n{} key fingerprint is {}.\n{known}\n\
         Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
        q.host,
        via.unwrap_or_default(),
        key_kind(&q.key.kind),
        q.key.fingerprint,
    )
}

/// `ssh-ed25519` as people call it.
fn key_kind(kind: &str) -> String {
    let name = kind.trim_start_matches("sk-").trim_start_matches("ssh-");
    let name = name.split(['-', '@']).next().unwrap_or(name);
    name.to_ascii_uppercase()
}

fn field_text(question: &PromptQuestion, field: &PromptField) -> String {
    let mut text = String::new();
    let is_first = question.fields.first().is_some_and(|first| first.id == field.id);
    if is_first && question.kind == PromptKind::Password && question.attempt > 1 {
        text.push_str("Permission denied, please try again.\n");
    }
    for part in question.instructions.iter().filter(|i| is_first && !i.trim().is_empty()) {
        text.push_str(&format!("({}) {part}\n", question.title));
    }
    let label = if field.label.trim().is_empty() { &question.title } else { &field.label };
    let label = printable(label);
    let text = printable(&text);
    // The server's own words, as they are.
    if question.kind == PromptKind::KeyboardInteractive {
        return format!("{text}({}) {label}", printable(&question.title));
    }
    let end = if label.ends_with([' ', ':', '?']) { "" } else { ": " };
    let blank = if label.ends_with([':', '?']) { " " } else { end };
    format!("{text}{label}{blank}")
}

/// What a server sends must not drive the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn askpass_is_used_as_ssh_does() {
        let askpass = || Way::Askpass("ask".into());
        for (require, display, program, terminal, want) in [
            ("", false, true, true, Way::Terminal),
            ("", true, true, true, Way::Terminal),
            ("", true, true, false, askpass()),
            ("", false, true, false, Way::Nobody),
            ("never", true, true, false, Way::Nobody),
            ("force", false, true, true, askpass()),
            ("FORCE", false, true, true, askpass()),
            ("force", false, false, true, Way::Askpass(ASKPASS.into())),
            ("prefer", true, true, true, askpass()),
            ("prefer", false, true, true, Way::Terminal),
            ("prefer", false, true, false, Way::Nobody),
        ] {
            let environment = Environment {
                askpass: program.then(|| "ask".into()),
                askpass_require: require.to_owned(),
                display,
                ..Environment::default()
            };
            assert_eq!(
                way(&environment, terminal),
                want,
                "{require} {display} {program} {terminal}"
            );
        }
    }

    #[test]
    fn a_host_key_is_trusted_as_ssh_does() {
        for (answer, want) in [
            ("yes", Some(true)),
            ("YES", Some(true)),
            ("SHA256:x", Some(true)),
            ("no", Some(false)),
            ("No", Some(false)),
            ("", Some(false)),
            ("y", None),
            ("sha256:x", None),
        ] {
            assert_eq!(trusted(answer, "SHA256:x"), want, "{answer}");
        }
    }

    fn question(kind: PromptKind, attempt: u32) -> PromptQuestion {
        let field = PromptField { id: "p".into(), label: "joe@a's password".into(), echo: false };
        PromptQuestion {
            prompt: 1,
            node: "a".into(),
            hop: None,
            kind,
            title: "joe@a's password".into(),
            instructions: None,
            fields: vec![field],
            attempt,
        }
    }

    #[test]
    fn the_environments_password_answers_once() {
        let mut environment =
            Environment { password: Some(Secret::new("pw")), ..Environment::default() };
        let prompter = TerminalPrompter::new(&mut environment);
        assert!(environment.password.is_none());
        for (kind, attempt, want) in [
            (PromptKind::Password, 1, true),
            (PromptKind::Password, 2, false),
            (PromptKind::KeyboardInteractive, 1, true),
            (PromptKind::Passphrase, 1, false),
            (PromptKind::Sudo, 1, false),
        ] {
            assert_eq!(
                prompter.by_environment(&question(kind, attempt)).is_some(),
                want,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn questions_name_who_asks_and_are_harmless() {
        let mut q = question(PromptKind::Password, 1);
        assert_eq!(field_text(&q, &q.fields[0]), "joe@a's password: ");
        q.attempt = 2;
        let again = "Permission denied, please try again.\njoe@a's password: ";
        assert_eq!(field_text(&q, &q.fields[0]), again);
        (q.kind, q.title) = (PromptKind::KeyboardInteractive, "joe@a".into());
        q.instructions = Some("Bank".into());
        q.fields[0].label = "Code\x1b[2J: ".into();
        q.fields.push(PromptField { id: "q".into(), label: "PIN".into(), echo: false });
        assert_eq!(field_text(&q, &q.fields[0]), "(joe@a) Bank\n(joe@a) Code[2J: ");
        assert_eq!(field_text(&q, &q.fields[1]), "(joe@a) PIN");
        assert_eq!(key_kind("ssh-ed25519"), "ED25519");
        assert_eq!(key_kind("ecdsa-sha2-nistp256"), "ECDSA");
        assert_eq!(key_kind("sk-ssh-ed25519@openssh.com"), "ED25519");
    }

    #[test]
    fn the_host_key_question_reads_as_in_ssh() {
        let q = HostKeyQuestion {
            prompt: 1,
            node: "a".into(),
            hop: None,
            host: "[127.0.0.1]:2222".into(),
            key: bssh_protocol::auth::HostKeyInfo {
                kind: "ssh-ed25519".into(),
                fingerprint: "SHA256:x".into(),
                blob: None,
            },
            known: Vec::new(),
        };
        let text = host_key_text(&q);
        assert!(text.starts_with(
            "The authenticity of host '[127.0.0.1]:2222' can't be established.\nED25519 key"
        ));
    }
}
