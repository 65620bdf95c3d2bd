//! `KnownHostsCommand`: a program that prints known_hosts lines (ssh_config(5)).
//!
//! Started without a shell, with nothing on stdin, for a bounded time and amount of output.
//! A command that fails is an error: whoever configured it wants its answer.

use super::KnownFile;
use crate::error::{Error, ErrorKind, Phase};
use crate::plan::Children;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_OUTPUT: u64 = 1 << 20;

/// Runs the command; `tokens` are the letters and values of `%f`, `%H` and so on.
///
/// # Errors
/// Phase host key: it cannot be started, fails, or does not end in time.
pub(crate) async fn from_command(
    command: &str,
    tokens: &[(char, &str)],
    children: Option<&Arc<Children>>,
) -> Result<KnownFile, Error> {
    let failed = |source| {
        let file = format!("output of KnownHostsCommand {command}");
        Error::new(Phase::HostKey, ErrorKind::HostKeyFile { file, source })
    };
    let words: Vec<String> = split(command).iter().map(|word| expand(word, tokens)).collect();
    match tokio::time::timeout(TIMEOUT, run(&words, children)).await {
        Ok(output) => output.map(|o| KnownFile::parse(&o)).map_err(failed),
        Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
    }
}

async fn run(words: &[String], children: Option<&Arc<Children>>) -> io::Result<Vec<u8>> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    Children::tell(children, &mut command);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut output = Vec::new();
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    stdout.take(MAX_OUTPUT + 1).read_to_end(&mut output).await?;
    if output.len() as u64 > MAX_OUTPUT {
        return Err(io::Error::other("more than 1 MiB of output"));
    }
    match child.wait().await? {
        status if status.success() => Ok(output),
        status => Err(io::Error::other(status.to_string())),
    }
}

/// Words as ssh splits them: blanks, quotes, backslash before a quote, blank or backslash.
fn split(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = command.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => {
                let escaped = chars.next_if(|next| matches!(next, '"' | '\'' | '\\' | ' '));
                word.get_or_insert_default().push(escaped.unwrap_or(c));
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (' ' | '\t', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn expand(word: &str, tokens: &[(char, &str)]) -> String {
    let mut out = String::with_capacity(word.len());
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        let Some(letter) = (c == '%').then(|| chars.next()).flatten() else {
            out.push(c);
            continue;
        };
        match tokens.iter().find(|(l, _)| *l == letter) {
            Some((_, value)) => out.push_str(value),
            None if letter == '%' => out.push('%'),
            None => out.extend(['%', letter]),
        }
    }
    out
}
