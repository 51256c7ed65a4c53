//! The subset of the Dockerfile language that the project's own file uses. What is not understood is an error, never skipped.

use std::fmt;

/// One instruction, its arguments as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    From { image: String, name: Option<String> },
    Workdir(String),
    Copy { from: Option<String>, sources: Vec<String>, target: String },
    Run(String),
    Env(Vec<(String, String)>),
    User(String),
    Volume(Vec<String>),
    Expose(Vec<u16>),
    Healthcheck { options: Vec<String>, command: Vec<String> },
    StopSignal(String),
    Entrypoint(Vec<String>),
    Cmd(Vec<String>),
}

/// What is not understood, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotUnderstood(pub(crate) usize, pub(crate) String);

impl fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dockerfile:{}: not understood: {}", self.0, self.1)
    }
}

/// Splits the text into instructions.
pub(crate) fn parse(text: &str) -> Result<Vec<Instruction>, NotUnderstood> {
    let mut instructions = Vec::new();
    for (line, text) in joined_lines(text) {
        let instruction = instruction(&text).ok_or_else(|| NotUnderstood(line, text.clone()))?;
        instructions.push(instruction);
    }
    Ok(instructions)
}

/// Lines with their continuations, without comments, by the number of their first line.
fn joined_lines(text: &str) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let (line, more) = line.strip_suffix('\\').map_or((line, false), |line| (line.trim_end(), true));
        match joined.last_mut().filter(|_| goes_on) {
            Some((_, whole)) => {
                whole.push(' ');
                whole.push_str(line);
            }
            None => joined.push((number + 1, line.to_owned())),
        }
        goes_on = more;
    }
    joined
}

fn instruction(text: &str) -> Option<Instruction> {
    let (word, rest) = text.split_once(char::is_whitespace)?;
    let rest = rest.trim();
    let words = || rest.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    Some(match word {
        "FROM" => from(&words())?,
        "WORKDIR" => Instruction::Workdir(rest.to_owned()),
        "COPY" => copy(words())?,
        "RUN" if !rest.starts_with(['[', '-', '<']) => Instruction::Run(rest.to_owned()),
        "ENV" => Instruction::Env(words().iter().map(|pair| assignment(pair)).collect::<Option<_>>()?),
        "USER" => Instruction::User(rest.to_owned()),
        "VOLUME" => Instruction::Volume(list(rest)?),
        "EXPOSE" => Instruction::Expose(words().iter().map(|port| port.parse().ok()).collect::<Option<_>>()?),
        "HEALTHCHECK" => {
            let (options, command) = rest.split_once("CMD")?;
            let options = options.split_whitespace().map(str::to_owned).collect();
            Instruction::Healthcheck { options, command: list(command.trim())? }
        }
        "STOPSIGNAL" => Instruction::StopSignal(rest.to_owned()),
        "ENTRYPOINT" => Instruction::Entrypoint(list(rest)?),
        "CMD" => Instruction::Cmd(list(rest)?),
        _ => return None,
    })
}

fn from(words: &[String]) -> Option<Instruction> {
    match words {
        [image] => Some(Instruction::From { image: image.clone(), name: None }),
        [image, r#as, name] if r#as == "AS" => {
            Some(Instruction::From { image: image.clone(), name: Some(name.clone()) })
        }
        _ => None,
    }
}

fn copy(mut words: Vec<String>) -> Option<Instruction> {
    let from = words.first().and_then(|word| word.strip_prefix("--from=")).map(str::to_owned);
    if from.is_some() {
        words.remove(0);
    }
    let target = words.pop()?;
    let plain = !words.is_empty()
        && words.iter().all(|word| !word.starts_with(['-', '[', '<']) && !word.contains('*'));
    plain.then_some(Instruction::Copy { from, sources: words, target })
}

fn assignment(pair: &str) -> Option<(String, String)> {
    pair.split_once('=').map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
}

/// The JSON form only: with a shell in between, the program would not get the signals.
fn list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

#[test]
fn every_instruction_is_read_or_refused() {
    let text = "# note\nFROM a:1 AS build\nRUN one \\\n    && two\nCOPY --from=build /x /y z/\nENV A=b C=\"d\"\n\
                EXPOSE 1 2\nHEALTHCHECK --retries=3 CMD [\"p\", \"q\"]\n";
    let read = parse(text).unwrap();
    assert_eq!(read[0], Instruction::From { image: "a:1".to_owned(), name: Some("build".to_owned()) });
    assert_eq!(read[1], Instruction::Run("one && two".to_owned()));
    let sources = vec!["/x".to_owned(), "/y".to_owned()];
    assert_eq!(
        read[2],
        Instruction::Copy { from: Some("build".to_owned()), sources, target: "z/".to_owned() }
    );
    assert_eq!(read[4], Instruction::Expose(vec![1, 2]));
    for refused in
        ["ADD a b", "RUN --mount=type=cache x", "CMD redhold run", "COPY --chown=1 a b", "ENTRYPOINT sh -c x"]
    {
        let text = format!("FROM a\n{refused}\n");
        assert_eq!(parse(&text), Err(NotUnderstood(2, refused.to_owned())), "{refused}");
    }
}
