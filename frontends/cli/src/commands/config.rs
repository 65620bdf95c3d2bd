//! `bssh config check`: every problem of the configuration files, with file, line and column.

use super::{failed, print_json};
use crate::args::Args;
use crate::{exit, print, request};
use bssh_client::Core;
use bssh_protocol::methods::ConfigCheck;
use bssh_protocol::node::{CheckParams, CheckResult, Problem};

/// Prints the problems; the status says whether one of them is an error.
pub(crate) async fn check(core: &Core, args: &Args) -> u8 {
    let params = CheckParams { settings: request::settings(args) };
    let result = match core.call::<ConfigCheck>(&params).await {
        Ok(result) => result,
        Err(error) => return failed(&error),
    };
    let printed = match args.output.json {
        Some(_) => print_json(&result),
        None => print(&text(&result)),
    };
    match result.problems.iter().any(|p| p.severity == "error") {
        true => exit::USAGE,
        false => printed,
    }
}

fn text(result: &CheckResult) -> String {
    let mut text: String = result.problems.iter().map(line).collect();
    let n_errors = result.problems.iter().filter(|p| p.severity == "error").count();
    let n_warnings = result.problems.len() - n_errors;
    match result.files.as_slice() {
        [] => text.push_str("no configuration file found\n"),
        files => text.push_str(&format!("read {}\n", files.join(", "))),
    }
    text.push_str(&format!("{n_errors} errors, {n_warnings} warnings\n"));
    text
}

fn line(p: &Problem) -> String {
    let hint = p.hint.as_ref().map(|h| format!("hint: {h}\n")).unwrap_or_default();
    let place = match (p.file.as_str(), p.line) {
        ("", _) => String::new(),
        (file, 0) => format!("{file}: "),
        (file, line) => format!("{file}:{line}:{}: ", p.column),
    };
    format!("{place}{}: {}\n{hint}", p.severity, p.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_name_their_place() {
        let problem = Problem {
            file: "c.yaml".into(),
            line: 3,
            column: 5,
            severity: "error".into(),
            message: "unknown key".into(),
            hint: Some("did you mean `user`?".into()),
        };
        let nowhere =
            Problem { message: "odd".into(), severity: "error".into(), ..Problem::default() };
        assert_eq!(line(&nowhere), "error: odd\n");
        let result = CheckResult { files: vec!["c.yaml".into()], problems: vec![problem] };
        assert_eq!(
            text(&result),
            "c.yaml:3:5: error: unknown key\nhint: did you mean `user`?\nread c.yaml\n1 errors, 0 warnings\n"
        );
    }
}
