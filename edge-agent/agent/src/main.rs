//! `windlass-edge`: reads the command line and does what it says.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use windlass_edge::cli::{CheckArgs, Cli, Command, ConfigArg, Exit, OutboxCommand, StatusArgs};
use windlass_edge::config::{Config, DEFAULT_SOCKET};
use windlass_edge::{check, inspect, log, run, socket, status};

fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Run(args) => run_agent(&args),
        Command::Status(args) => show_status(&args),
        Command::Check(args) => check_all(&args),
        Command::Outbox {
            command: OutboxCommand::Inspect(args),
        } => report(inspect::inspect(&args)),
    };
    exit.into()
}

fn run_agent(args: &ConfigArg) -> Exit {
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    log::start(&config.log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime
            .block_on(run::run(config))
            .map_err(|e| e.to_string()),
        Err(e) => Err(format!("cannot start the runtime: {e}")),
    };
    match result {
        Ok(()) => Exit::Ok,
        Err(error) => {
            tracing::error!(error, "the agent ends with an error");
            Exit::Failed
        }
    }
}

fn show_status(args: &StatusArgs) -> Exit {
    let config = match args.config.as_deref().map(load).transpose() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let default = Path::new(DEFAULT_SOCKET);
    let configured = config.as_ref().map_or(default, |c| &c.status_socket);
    let path = args.socket.as_deref().unwrap_or(configured);
    let (doc, exit) = match (socket::ask(path), &config) {
        (Ok(doc), _) => (doc, Exit::Ok),
        (Err(error), Some(config)) => {
            eprintln!("windlass-edge: {error}");
            match inspect::offline_status(config) {
                Ok(doc) => (doc, Exit::Unreachable),
                Err(error) => {
                    eprintln!("windlass-edge: {error}");
                    return Exit::Unreachable;
                }
            }
        }
        (Err(error), None) => {
            eprintln!("windlass-edge: {error}; with --config its outbox can be read instead");
            return Exit::Unreachable;
        }
    };
    let text = if args.json {
        serde_json::to_string_pretty(&doc).unwrap_or_else(|e| e.to_string())
    } else {
        status::text(&doc)
    };
    print(text.trim_end());
    exit
}

fn check_all(args: &CheckArgs) -> Exit {
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let findings = check::check(&config, args.connect);
    print(check::render(&findings, args.json).trim_end());
    check::exit(&findings)
}

fn load(path: &Path) -> Result<Config, Exit> {
    Config::load(path).map_err(|error| {
        eprintln!("windlass-edge: {error}");
        Exit::Usage
    })
}

fn report(result: Result<String, inspect::InspectError>) -> Exit {
    match result {
        Ok(text) => {
            print(text.trim_end());
            Exit::Ok
        }
        Err(error) => {
            eprintln!("windlass-edge: {error}");
            error.exit()
        }
    }
}

#[allow(clippy::print_stdout)] // the command line's answer
fn print(text: &str) {
    println!("{text}");
}
