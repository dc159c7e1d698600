//! `dossierd init`: reports what was recognised and writes `.dossierd/config.yaml`, which a team
//! commits.

use std::io::Write as _;

use anyhow::bail;

use crate::cli::args::InitArgs;
use crate::cli::exit::CommandExit;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::output;
use crate::core::path::escape_unprintable;
use crate::core::suggest::nearest;

pub(crate) fn run(args: &InitArgs) -> anyhow::Result<CommandExit> {
    let targets = LocalTarget::all_for_init(&args.path, !args.layouts.is_empty())?;
    let mut exit = CommandExit::Success;
    for target in &targets {
        init(args, target)?;
        let finished = target.finish();
        if finished.code() > exit.code() {
            exit = finished;
        }
    }
    Ok(exit)
}

fn init(args: &InitArgs, target: &LocalTarget) -> anyhow::Result<()> {
    let project = &target.project;
    let known: Vec<&str> = project.known_layouts().iter().map(|one| one.name.as_str()).collect();
    for name in &args.layouts {
        if !known.contains(&name.as_str()) {
            let hint = nearest(name, known.iter().copied())
                .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            bail!("unknown layout `{name}`{hint}");
        }
    }
    let mut out = output::stdout_human();
    writeln!(out, "{}", escape_unprintable(&project.root.display().to_string()))?;
    for applied in project.applied_layouts() {
        let marker = applied.marker.as_ref().map(|marker| marker.text().into_owned());
        let reason = marker.map_or("named in the configuration".to_owned(), |marker| {
            format!("found {}", escape_unprintable(&marker))
        });
        writeln!(out, "  layout {}: {reason}", applied.layout.name)?;
    }
    writeln!(
        out,
        "  {} features",
        target.features.iter().filter(|one| !one.is_documents()).count()
    )?;
    out.flush()?;
    let recognised = project.applied_layouts().iter().map(|one| one.layout.name.clone());
    let layouts = if args.layouts.is_empty() { recognised.collect() } else { args.layouts.clone() };
    let path = project.write_config_file(&layouts, args.shared)?;
    output::note(&format!("wrote {}", path.display()));
    Ok(())
}
