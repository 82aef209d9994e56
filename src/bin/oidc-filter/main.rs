//! The command: looks at configurations and manifests, shows what the filter does with a request, writes manifests, and reads what
//! other filters were configured with. Every line of policy is the library's, which is the filter itself.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod emit;
mod explain;
mod file;
mod lint;
mod marks;
mod migrate;
mod packed;
mod render;
mod report;
mod schema;
mod site;
mod stage;
mod table;
mod urls;
mod words;
mod yaml;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use file::File;
use oidc_filter::time::Timestamp;
use report::{Format, Level};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;
use words::Paint;

/// Looks after configurations of oidc-filter, the token filter for Envoy
#[derive(Parser)]
#[command(name = "oidc-filter", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find what Envoy or the filter would refuse, and what is legal and unwise
    ///
    /// A FILE is an Envoy bootstrap, an answer of LDS, CDS or ECDS, a WasmPlugin, TrafficExtension or EnvoyExtensionPolicy, or
    /// nothing but the configuration; YAML or JSON; `-` is the standard input. Files that are given together belong together:
    /// clusters of one serve filters of another, and a filter that one discovers (ECDS) stands in another. Exits with 0 if there is no error, 1 if there is one, 2 if a file can't be read.
    Lint {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// How findings are written
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Exit with 1 for warnings too
        #[arg(long)]
        strict: bool,
    },
    /// Show what the filter does with a request, and why
    ///
    /// Nothing is called but with --live: what stands at the provider's URLs is given by --keys and --answer, and a call without an answer
    /// is told. Exits with 0 if that was enough to decide, with 1 if an answer was lacking, with 2 if something can't be read.
    Explain(Box<explain::Options>),
    /// Run tables of requests with the verdicts that are expected
    ///
    /// Exits with 0 if all is as expected, with 1 if something is not, with 2 if a table can't be read.
    Test {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The configuration, in place of the one that the tables name
        #[arg(long, value_name = "FILE")]
        configuration: Option<PathBuf>,
        /// Write one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration
    Schema,
    /// Write complete manifests from a bare configuration
    ///
    /// With what belongs around the filter: clusters, or ServiceEntry and DestinationRule, with TLS whose certificate is checked; the
    /// hand-off of metadata; a safety net; the tags of its metrics.
    Render(Box<render::Options>),
    /// Make a configuration of what another filter was configured with
    ///
    /// What does not carry over stands in comments at the top, first what theirs refuses and this lets pass. Exits with 0 if a configuration was made, with 2 if not.
    Migrate {
        /// Whose configuration it is
        #[arg(value_enum)]
        system: migrate::System,
        /// Theirs, in one file or in several that belong together; `-` is the standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Write one JSON object, with `configuration`, `widened` (what lets more pass than theirs) and `notes`
        #[arg(long)]
        json: bool,
    },
    /// Print what completes this command in a shell: `source <(oidc-filter completions bash)`
    Completions { shell: Shell },
}

/// How a command ends.
enum End {
    /// All is well.
    Good,
    /// Something was found.
    Found,
    /// Something could not be read.
    Unreadable(String),
}

fn main() -> ExitCode {
    let end = match Arguments::parse().command {
        Command::Lint { files, format, strict } => lint(&files, format, strict),
        Command::Explain(options) => explain(&options).unwrap_or_else(End::Unreadable),
        Command::Test { files, configuration, json } => {
            test(&files, configuration.as_deref(), json).unwrap_or_else(End::Unreadable)
        }
        Command::Schema => print(schema::TEXT),
        Command::Render(options) => render(&options).unwrap_or_else(End::Unreadable),
        Command::Migrate { system, files, json } => migrate(system, &files, json).unwrap_or_else(End::Unreadable),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "oidc-filter", &mut text);
            print(&String::from_utf8_lossy(&text))
        }
    };
    match end {
        End::Good => ExitCode::SUCCESS,
        End::Found => ExitCode::from(1),
        End::Unreadable(problem) => {
            let _ = writeln!(std::io::stderr(), "oidc-filter: {}", words::plain(&problem));
            ExitCode::from(2)
        }
    }
}

fn lint(paths: &[PathBuf], format: Format, strict: bool) -> End {
    let files: Result<Vec<File>, String> = paths.iter().map(|path| File::read(path)).collect();
    let files = match files {
        Ok(files) => files,
        Err(problem) => return End::Unreadable(problem),
    };
    let findings = lint::lint(&files);
    let end = print(&report::written(&findings, format));
    let worst_allowed = if strict { Level::Note } else { Level::Warning };
    if findings.iter().any(|finding| finding.level < worst_allowed) { End::Found } else { end }
}

fn explain(options: &explain::Options) -> Result<End, String> {
    let now = options.at.as_deref().map_or_else(|| Ok(now()), words::time)?;
    let paint = match options.color {
        explain::Color::Auto => Paint::on_terminals(),
        explain::Color::Always => Paint::always(),
        explain::Color::Never => Paint::never(),
    };
    let Some(file) = &options.file else {
        let token = explain::token(options)?;
        return Ok(if options.json {
            print(&report::pretty(&token.to_json(now)))
        } else {
            print(&explain::text::token(&token, now, paint))
        });
    };
    let story = explain::explain(file, options, now)?;
    let end = if options.json {
        print(&report::pretty(&story.to_json()))
    } else {
        print(&explain::text::written(&story, paint))
    };
    Ok(if story.played.unanswered().next().is_some() { End::Found } else { end })
}

fn test(files: &[PathBuf], configuration: Option<&Path>, json: bool) -> Result<End, String> {
    let now = now();
    let tables = files.iter().map(|file| table::Table::read(file, configuration, now));
    let tables = tables.collect::<Result<Vec<_>, _>>()?;
    let outcomes = table::run(&tables)?;
    let end = print(&if json { outcomes.to_json() } else { outcomes.written(Paint::on_terminals()) });
    Ok(if outcomes.are_as_expected() { end } else { End::Found })
}

fn render(options: &render::Options) -> Result<End, String> {
    let file = File::read(&options.file)?;
    Ok(print(&render::render(options, &file)?))
}

fn migrate(system: migrate::System, paths: &[PathBuf], json: bool) -> Result<End, String> {
    let files = paths.iter().map(|path| File::read(path)).collect::<Result<Vec<_>, _>>()?;
    let migration = migrate::migrate(system, &files)?;
    Ok(print(&if json { report::pretty(&migration.to_json()) } else { migration.to_yaml() }))
}

/// The time; 1970 where the system's clock is before it.
#[expect(clippy::disallowed_methods, reason = "the command has a clock: it is the edge here")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_seconds(since.as_secs())
}

/// Whoever reads may stop early, as `head` does.
fn print(text: &str) -> End {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => End::Unreadable(error.to_string()),
        _ => End::Good,
    }
}
