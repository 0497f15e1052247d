//! The executable: reads the command line and starts what it names.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use leeway::run::Role;
use leeway::settings::Settings;
use leeway::{backtest, demo, explain, loadgen, replay, run, scan, send};
use leeway_core::clock::{Clock, HOUR};
use leeway_store::Store;

/// Watches language-model features in production: quality, latency, errors, tokens and cost from Kafka telemetry.
#[derive(Debug, Parser)]
#[command(name = "leeway", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show everything on this machine with simulated traffic; needs nothing installed
    Demo(demo::Args),
    /// Run the service
    Run(RunArgs),
    /// Read settings, rules and receivers, say what is wrong, start nothing
    Check(ConfigArgs),
    /// Bring the database to the newest schema
    Migrate(ConfigArgs),
    /// Write a weekly report to standard output, or to a file
    Report(ReportArgs),
    /// Look into what producers send
    #[command(subcommand)]
    Ingest(IngestCommand),
    /// Run detectors over the past and say what they would have alarmed on
    Backtest(backtest::Args),
    /// Look at what alerts were found from
    #[command(subcommand)]
    Finding(FindingCommand),
    /// Find personal data and secrets in a text and say why
    Scan(scan::Args),
    /// Write calls to Kafka and say per minute and series what was written
    Loadgen(loadgen::Args),
    /// Print every setting with its default and what it is for
    Settings,
    /// Make a webhook signing key
    Token,
}

#[derive(Debug, Subcommand)]
enum FindingCommand {
    /// Compute a finding's evidence again from what the store holds, and say whether it comes out the same
    Verify(backtest::verify::Args),
}

#[derive(Debug, Subcommand)]
enum IngestCommand {
    /// Show what Leeway makes of messages: recognised, counted, merged or dropped, and why; needs no service
    Explain(explain::Args),
    /// Send calls, feedback, changes and other events from files or the command line to a running service
    Send(send::Args),
    /// List refused messages and records: where they lie, and why
    DeadLetters(replay::ListArgs),
    /// Send refused messages once more, those that would now be taken
    Replay(replay::ReplayArgs),
}

#[derive(Debug, clap::Args)]
struct ConfigArgs {
    /// Settings file; variables LEEWAY_SECTION__KEY win over it
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ReportArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// ISO week such as 2026-W46; without it, the last whole week
    #[arg(long)]
    week: Option<String>,
    #[arg(long, value_enum, default_value = "html")]
    format: ReportFormat,
    /// Write here instead
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ReportFormat {
    Html,
    Md,
    Json,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// What this process does
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["ingest", "evaluate", "notify", "web"])]
    roles: Vec<Role>,
    /// Serve pages on a public address without tokens
    #[arg(long)]
    insecure: bool,
    /// Event time starts so many hours ago and runs at --clock-speed until it catches up
    #[arg(long, hide = true, default_value_t = 0.0)]
    clock_lag_hours: f64,
    #[arg(long, hide = true, default_value_t = 1.0)]
    clock_speed: f64,
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| "info,sqlx=warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // One TLS library with one provider in the whole program; a second install cannot happen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{}", leeway::tasks::told(panic))));
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            // Standard error may be gone; then there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let cli = Cli::parse();
    match &cli.command {
        Command::Backtest(args) => return backtest::run(args),
        Command::Loadgen(args) => return loadgen::run(args),
        Command::Scan(args) => return scan::run(args),
        Command::Ingest(IngestCommand::Explain(args)) => return explain::run(args),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(dispatch(cli.command))
}

async fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Run(args) => {
            let settings = Settings::load(args.config.config.as_deref())?;
            let clock = if args.clock_lag_hours > 0.0 {
                Clock::catching_up((args.clock_lag_hours * HOUR as f64) as i64, args.clock_speed)
            } else {
                Clock::System
            };
            run::run(settings, clock, args.roles, args.insecure).await
        }
        Command::Check(args) => {
            let settings = Settings::load(args.config.as_deref())?;
            let (rules, channels, book) = (settings.rules()?, settings.channels()?, settings.price_book()?);
            settings.dimensions()?;
            settings.user_key()?;
            settings.targets()?;
            settings.report_receivers()?;
            settings.topics()?;
            leeway::registry::Registry::open(&settings.kafka.registry, tokio::runtime::Handle::current())?;
            say(&format!(
                "settings are right: {} rules, {} receivers, {} price book entries",
                rules.len(),
                channels.len(),
                book.len()
            ))
        }
        Command::Migrate(args) => {
            let settings = Settings::load(args.config.as_deref())?;
            let store = Store::open(&settings.location()).await.context("open the store (store.url)")?;
            store.close().await;
            say("the database has the newest schema")
        }
        Command::Report(args) => report(args).await,
        Command::Settings => say(leeway::settings::BUILT_IN.trim_end()),
        Command::Token => say(&demo::new_signing_key()?),
        Command::Finding(FindingCommand::Verify(args)) => backtest::verify::run(&args).await,
        Command::Ingest(IngestCommand::Send(args)) => send::run(args).await,
        Command::Ingest(IngestCommand::DeadLetters(args)) => replay::list(args).await,
        Command::Ingest(IngestCommand::Replay(args)) => replay::replay(args).await,
        Command::Backtest(_) | Command::Loadgen(_) | Command::Scan(_) | Command::Ingest(IngestCommand::Explain(_)) => {
            Ok(())
        }
    }
}

async fn report(args: ReportArgs) -> Result<()> {
    let settings = Settings::load(args.config.config.as_deref())?;
    let wanted = settings.wanted()?;
    let store = Store::open(&settings.location()).await.context("open the store (store.url)")?;
    let now = Clock::System.wall();
    let week = args.week.unwrap_or_else(|| leeway_core::clock::week_of(now - 7 * leeway_core::clock::DAY));
    let report = leeway::report::make(&store, &week, now, &wanted).await?;
    store.close().await;
    let text = match args.format {
        ReportFormat::Html => {
            leeway_dashboards::report::file(&report).map_err(|error| anyhow::anyhow!("render: {}", error.0))?
        }
        ReportFormat::Md => leeway_dashboards::report::markdown(&report),
        ReportFormat::Json => serde_json::to_string_pretty(&report).context("write JSON")?,
    };
    match args.out {
        Some(path) => std::fs::write(&path, text).with_context(|| format!("write {}", path.display())),
        None => say(text.trim_end()),
    }
}

fn say(text: &str) -> Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{text}").context("print")
}
