//! Passwords and keyboard-interactive dialogues (RFC 4252 section 8, RFC 4256).
//!
//! Questions come from the server: they are made printable before a person sees them. Answers
//! live in memory that is wiped, except for the copy russh sends.

use super::{Login, Step};
use crate::ask::{Ask, Field, Note, NoteLevel, Prompt, PromptKind};
use crate::error::Error;
use russh::client::{AuthResult, Handler, KeyboardInteractiveAuthResponse as Answer};

/// Rounds of questions in one dialogue; OpenSSH servers need two or three.
const MAX_ROUNDS: u32 = 64;

impl<H: Handler> Login<'_, H> {
    pub(super) async fn password(&mut self, attempt: u32) -> Result<Step, Error> {
        let user = &self.plan.user;
        let title = self.title();
        let field = Field { label: format!("{title}'s password: "), echo: false };
        let answer = self.ask.prompt(Prompt {
            kind: PromptKind::Password,
            title,
            instructions: None,
            fields: vec![field],
            attempt,
        });
        let Some(password) = answer.await.and_then(|a| a.into_iter().next()) else {
            return Ok(self.declined("password"));
        };
        let answer = self.handle.authenticate_password(user, password.as_str()).await;
        self.judge(answer, || "password".to_owned()).await
    }

    pub(super) async fn keyboard(&mut self, attempt: u32) -> Result<Step, Error> {
        let user = &self.plan.user;
        let mut answer =
            self.handle.authenticate_keyboard_interactive_start(user, None::<String>).await;
        let (mut asked, mut declined) = (0, false);
        for _ in 0..MAX_ROUNDS {
            let (name, instructions, prompts) = match answer {
                Ok(Answer::InfoRequest { name, instructions, prompts }) => {
                    (name, instructions, prompts)
                }
                Ok(Answer::Success) => return Ok(Step::In),
                Ok(Answer::Failure { remaining_methods, partial_success }) => {
                    let answer = Ok(AuthResult::Failure { remaining_methods, partial_success });
                    let step = self.judge(answer, || "keyboard-interactive".to_owned()).await?;
                    return Ok(match step {
                        Step::Refused if declined => self.declined("keyboard-interactive"),
                        // A server that refuses without asking will do so again.
                        Step::Refused if asked == 0 => Step::Exhausted,
                        step => step,
                    });
                }
                Err(error) => return self.judge(Err(error), String::new).await,
            };
            if prompts.is_empty() {
                self.tell([name.as_str(), instructions.as_str()]);
            }
            // Unanswered, a dialogue would be all that the library goes on with: nothing is an answer.
            let mut responses = vec![String::new(); prompts.len()];
            if !prompts.is_empty() && !declined {
                let title = self.title();
                let fields: Vec<Field> = prompts
                    .into_iter()
                    .map(|p| Field { label: printable(&p.prompt), echo: p.echo })
                    .collect();
                let wanted = fields.len();
                let instructions = [printable(&name), printable(&instructions)];
                let instructions: Vec<&str> = instructions
                    .iter()
                    .map(String::as_str)
                    .filter(|text| !text.is_empty())
                    .collect();
                let instructions = Some(instructions.join("\n")).filter(|text| !text.is_empty());
                let kind = PromptKind::KeyboardInteractive;
                // What answers the first question (a password) is no answer to the next (a code).
                let attempt = attempt + asked;
                let prompt = Prompt { kind, title, instructions, fields, attempt };
                asked += 1;
                match self.ask.prompt(prompt).await {
                    Some(given) if given.len() == wanted => {
                        responses = given.iter().map(|g| g.to_string()).collect();
                    }
                    _ => declined = true,
                }
            }
            answer = self.handle.authenticate_keyboard_interactive_respond(responses).await;
        }
        Ok(self.declined("keyboard-interactive"))
    }

    /// What a server says without a question, such as that a password will expire soon.
    fn tell(&self, said: [&str; 2]) {
        let lines = said.map(printable);
        for text in lines.into_iter().filter(|text| self.plan.banner && !text.trim().is_empty()) {
            self.ask
                .note(Note { level: NoteLevel::Banner, text: format!("{}\n", text.trim_end()) });
        }
    }

    /// Who logs in where; the name of a node may say who, too.
    fn title(&self) -> String {
        let (user, node) = (&self.plan.user, &self.plan.node);
        format!("{user}@{}", node.rsplit('@').next().unwrap_or(node))
    }

    fn declined(&mut self, what: &str) -> Step {
        self.tried.push(format!("{what}: no answer given"));
        Step::Exhausted
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
