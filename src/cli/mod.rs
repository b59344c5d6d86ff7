//! One file a command. Exit codes: 0, 1 for a failure while running, 2 for usage or configuration.

mod check;
pub mod demo;
mod drain;
mod run;
mod schema;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// An edge gateway: one process, one YAML file.
#[derive(Debug, Parser)]
#[command(name = "headgate", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until a signal ends it
    Run(File),
    /// Find all problems of a configuration, and change nothing
    Check(File),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Move sessions off an endpoint of the running gateway, before it is stopped
    Drain(drain::Drain),
    /// Run the gateway with demo endpoints behind it: nothing else needed
    Demo(File),
}

#[derive(Debug, Args)]
struct File {
    /// The configuration
    #[arg(short, long = "config", value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
}

/// A configuration that is refused, or a command line that isn't understood.
const CONFIGURATION: u8 = 2;

/// A failure while running.
const RUNTIME: u8 = 1;

/// Carries out what the command line says.
pub fn main() -> ExitCode {
    // A command line that isn't understood ends here, with 2.
    match Arguments::parse().command {
        Command::Run(File { config }) => run::run(&config),
        Command::Check(File { config }) => check::check(&config),
        Command::Schema => schema::schema(),
        Command::Drain(arguments) => drain::drain(&arguments),
        Command::Demo(File { config }) => demo::demo(&config),
    }
}

/// Prints a command's answer. A reader that has enough of it (`| head`) is no failure.
fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// Prints what went wrong.
fn complain(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
