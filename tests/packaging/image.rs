//! What the instructions make of each stage, and what a good image must have.

use crate::dockerfile::Instruction;

/// One `FROM` with what follows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage {
    pub(crate) image: String,
    pub(crate) name: Option<String>,
    /// WORKDIR, COPY, RUN, in their order.
    pub(crate) steps: Vec<Step>,
    pub(crate) user: Option<String>,
    pub(crate) volumes: Vec<String>,
    pub(crate) ports: Vec<u16>,
    pub(crate) healthcheck: Vec<String>,
    pub(crate) stop_signal: Option<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
}

/// An instruction that changes the file system, with the state that it sees.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) instruction: Instruction,
    pub(crate) workdir: String,
    pub(crate) env: Vec<(String, String)>,
}

/// Distributes the instructions over their stages.
pub(crate) fn stages(instructions: &[Instruction]) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let (mut workdir, mut env) = (String::new(), Vec::new());
    for instruction in instructions {
        if let Instruction::From { image, name } = instruction {
            stages.push(Stage { image: image.clone(), name: name.clone(), ..Stage::default() });
            (workdir, env) = ("/".to_owned(), Vec::new());
            continue;
        }
        let Some(stage) = stages.last_mut() else { continue };
        match instruction {
            Instruction::Workdir(path) => workdir.clone_from(path),
            Instruction::Env(pairs) => env.extend(pairs.iter().cloned()),
            _ => {}
        }
        match instruction.clone() {
            Instruction::User(user) => stage.user = Some(user),
            Instruction::Volume(paths) => stage.volumes = paths,
            Instruction::Expose(ports) => stage.ports = ports,
            Instruction::Healthcheck { command, .. } => stage.healthcheck = command,
            Instruction::StopSignal(signal) => stage.stop_signal = Some(signal),
            Instruction::Entrypoint(command) => stage.entrypoint = command,
            Instruction::Cmd(command) => stage.cmd = command,
            Instruction::Workdir(_) | Instruction::Copy { .. } | Instruction::Run(_) => {
                stage.steps.push(Step {
                    instruction: instruction.clone(),
                    workdir: workdir.clone(),
                    env: env.clone(),
                });
            }
            Instruction::From { .. } | Instruction::Env(_) => {}
        }
    }
    stages
}

/// What is wrong with the image, one sentence each. `exists` tells whether a path is part of the repository, `config` is the
/// configuration that the image starts with.
pub(crate) fn faults(stages: &[Stage], exists: impl Fn(&str) -> bool, config: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for stage in stages {
        if !stage.image.contains(':') || stage.image.ends_with(":latest") {
            faults.push(format!("{} is not pinned to a tag", stage.image));
        }
        for step in &stage.steps {
            let Instruction::Copy { from, sources, .. } = &step.instruction else { continue };
            match from {
                Some(name) if !stages.iter().any(|stage| stage.name.as_ref() == Some(name)) => {
                    faults.push(format!("COPY from {name}, which is no stage"));
                }
                Some(_) => {}
                None => {
                    let missing = sources.iter().filter(|source| !exists(source));
                    faults.extend(missing.map(|source| format!("COPY of {source}, which does not exist")));
                }
            }
        }
    }
    let Some(last) = stages.last() else { return vec!["no stage at all".to_owned()] };
    if stages.len() < 2 {
        faults.push("one stage: the compiler is part of the image".to_owned());
    }
    let user = last.user.as_deref().and_then(|user| user.split(':').next()?.parse::<u32>().ok());
    if user.is_none_or(|user| user == 0) {
        faults.push(
            "USER is not a number above 0, so that Kubernetes cannot tell that it is not root".to_owned(),
        );
    }
    for (what, missing) in [
        ("HEALTHCHECK", last.healthcheck.is_empty()),
        ("ENTRYPOINT", last.entrypoint.is_empty()),
        ("STOPSIGNAL SIGTERM", last.stop_signal.as_deref() != Some("SIGTERM")),
    ] {
        if missing {
            faults.push(format!("no {what}"));
        }
    }
    for port in listened(config) {
        if !last.ports.contains(&port) {
            faults.push(format!("the configuration listens on {port}, which is not exposed"));
        }
    }
    faults
}

/// The ports of `listen = …` lines.
pub(crate) fn listened(config: &str) -> Vec<u16> {
    let lines = config.lines().filter(|line| line.trim_start().starts_with("listen"));
    lines.flat_map(|line| line.split('"').filter_map(|text| text.rsplit_once(':')?.1.parse().ok())).collect()
}

#[test]
fn the_image_has_no_fault() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let stages =
        stages(&crate::dockerfile::parse(&read("Dockerfile")).unwrap_or_else(|fault| panic!("{fault}")));
    let faults = faults(&stages, |path| root.join(path).exists(), &read("config/container.toml"));
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn planted_faults_are_found() {
    let good = "FROM a:1 AS build\nCOPY src ./src\nFROM b:1\nCOPY --from=build /x /x\nUSER 7:7\nEXPOSE 1 2\n\
                HEALTHCHECK CMD [\"x\"]\nSTOPSIGNAL SIGTERM\nENTRYPOINT [\"x\"]\n";
    let config = "[proxy]\nlisten = [\"0.0.0.0:1\"]\n[admin]\nlisten = \"0.0.0.0:2\"\n";
    let count = |text: &str, config: &str| {
        let stages = stages(&crate::dockerfile::parse(text).unwrap());
        faults(&stages, |path| path == "src", config).len()
    };
    assert_eq!(count(good, config), 0);
    for (what, instead) in [
        ("FROM b:1", "FROM b"),
        ("FROM b:1", "FROM b:latest"),
        ("COPY src", "COPY sources"),
        ("--from=build", "--from=builder"),
        ("USER 7:7", "USER 0"),
        ("USER 7:7", "USER redhold"),
        ("USER 7:7\n", ""),
        ("HEALTHCHECK CMD [\"x\"]\n", ""),
        ("ENTRYPOINT [\"x\"]\n", ""),
        ("SIGTERM", "SIGKILL"),
        ("EXPOSE 1 2", "EXPOSE 1"),
        ("FROM b:1\nCOPY --from=build /x /x\n", ""),
    ] {
        assert!(good.contains(what));
        assert_eq!(count(&good.replace(what, instead), config), 1, "{what} -> {instead}");
    }
}
