//! `demo`: from nothing to recommendations that follow a click, on bundled real data, saying what it does.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tastemaker_artifacts::Evaluation;
use tastemaker_config::{FILE_NAME, Loaded, Origin};
use tastemaker_import::Kind;
use tastemaker_recommend::RecommendRequest;
use tastemaker_server::{Access, Engine};
use tastemaker_training::{TrainOptions, train};
use tastemaker_types::{Attributes, Event, Record, Timestamp, Value};
use tokio::net::TcpListener;

use super::evaluate::write_metrics;
use super::train::report_steps;
use crate::context::{Context, VERSION};
use crate::demo::data;
use crate::importing::{Log, import_file};
use crate::output::{Output, count, seconds, table, write_table};
use crate::progress::Progress;
use crate::{interrupt, logging};

/// See it work on real data: import, train, evaluate, recommend, serve
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The data is MovieLens (ml-latest-small) by GroupLens, bundled; its licence is beside it. The folder is an ordinary project
afterwards, and the demo may be run again on it.

Example:
  tastemaker demo --dir movies --exit")]
pub(crate) struct Args {
    /// The folder of the demo's project, made if it is not there
    #[arg(long, value_name = "DIR", default_value = "tastemaker-demo")]
    dir: PathBuf,
    /// Stop after printing instead of serving
    #[arg(long)]
    exit: bool,
    /// The address to serve on; port 0 takes a free one [default: 127.0.0.1:8080, or a free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

const PROJECT: &str = include_str!("../demo/tastemaker.toml");
/// A person with a taste that shows: film noir.
const PERSON: &str = "309";
/// What a visitor clicks on: Spirited Away (2001).
const CLICKED: &str = "5618";
/// Lines of lists.
const SHOWN: usize = 10;

/// What the demo found, for programs.
#[derive(Serialize)]
struct Shown {
    dir: PathBuf,
    evaluation: Evaluation,
    person: String,
    liked: Vec<Movie>,
    recommended: Vec<Movie>,
    visitor: String,
    clicked: Movie,
    before_click: Vec<Movie>,
    after_click: Vec<Movie>,
    commands: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Movie {
    item_id: String,
    title: String,
    genres: Vec<String>,
}

impl Movie {
    fn new(item_id: &str, attributes: &Attributes) -> Self {
        let title = attributes.get("title").map_or_else(|| item_id.to_owned(), Value::to_string);
        let genres = match attributes.get("genres") {
            Some(Value::Tags(genres)) => genres.clone(),
            _ => Vec::new(),
        };
        Self { item_id: item_id.to_owned(), title, genres }
    }

    /// Title and genres in at most `width` characters.
    fn line(&self, width: usize) -> String {
        let line = format!("{}  {}", self.title, self.genres.join(" "));
        if line.chars().count() <= width {
            return line;
        }
        line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    interrupt::listen()?;
    let output = context.output;
    let dir = &args.dir;
    let loaded = prepare(dir, context)?;
    // Where the settings name an address, that one; else another if the usual one is taken.
    let named = loaded.origin("server.listen") != Origin::Default;
    let config = loaded.config;
    let wanted = args.listen.or_else(|| named.then_some(config.server.listen));

    output.say(&format!(
        "1. Unpacking MovieLens into {}: 100,836 ratings of 9,742 movies by 610 people.\n",
        dir.display()
    ))?;
    let files = data::unpack(dir)?;

    output.say("2. Importing the movies and the ratings into the event log.")?;
    let mut log = Log::open(&config, true)?;
    for (kind, file) in [(Kind::Items, &files.movies), (Kind::Events, &files.ratings)] {
        let imported = import_file(&config, kind, file, &mut log, output)?;
        if imported.interrupted {
            bail!("interrupted; run the demo again to go on");
        }
        let (new, known) = (imported.written.written, imported.written.duplicates);
        let known = if known > 0 { format!(", {} were there already", count(known)) } else { String::new() };
        let rate = count(imported.report.rows_per_second() as u64);
        output.say(&format!("   {} {} ({rate} rows/s){known}", count(new), imported.kind))?;
    }
    log.close()?;

    output.say("\n3. Training a model on what people liked, measuring it on the latest tenth of that first.")?;
    let mut progress = Progress::new(output);
    let trained = train(&config, TrainOptions::default(), VERSION, &mut |step| report_steps(&mut progress, step))?;
    drop(progress);
    output.say(&format!(
        "   generation {}: {} of rank {} on {} likes, in {}\n",
        trained.version,
        trained.model.kind,
        trained.model.rank,
        count(trained.lineage.events),
        seconds(trained.lineage.training_seconds)
    ))?;
    let evaluation = trained.evaluation.context("nothing was measured; the demo's settings hold nothing out")?;
    let mut metrics = Vec::new();
    write_metrics(&mut metrics, &evaluation)?;
    output.say(&String::from_utf8_lossy(&metrics))?;

    logging::start_quietly(context);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start threads")?;
    runtime.block_on(async {
        let engine = Arc::new(Engine::open(Arc::new(config), Access::ReadWrite)?);
        let listener = if args.exit { None } else { Some(listen(wanted).await?) };
        let address = match &listener {
            Some(listener) => listener.local_addr()?,
            None => wanted.unwrap_or(engine.config().server.listen),
        };
        let shown = show(&engine, dir, evaluation, address, output).await?;
        if output.json {
            print_json(&shown)?;
        }
        match listener {
            None => {
                engine.close()?;
                output.say(&format!(
                    "To serve this project:  tastemaker serve --config {}",
                    dir.join(FILE_NAME).display()
                ))?;
            }
            Some(listener) => {
                output.say(&format!(
                    "5. Serving on http://{address} (the API: http://{address}/docs); Ctrl-C ends it."
                ))?;
                tastemaker_server::serve_engine(engine, listener, tastemaker_server::shutdown_signal()).await?;
            }
        }
        Ok(())
    })
}

/// Makes the project, unless it is there from an earlier run.
fn prepare(dir: &Path, context: &Context) -> Result<Loaded> {
    fs_err::create_dir_all(dir)?;
    let path = dir.join(FILE_NAME);
    if !path.exists() {
        fs_err::write(&path, PROJECT)?;
    }
    let loaded = context.load_from(&path)?;
    if loaded.config.project.name != "movielens-demo" {
        bail!("{} is another project; choose another folder with --dir", path.display());
    }
    Ok(loaded)
}

async fn listen(wanted: Option<SocketAddr>) -> Result<TcpListener> {
    if let Some(address) = wanted {
        let taken = || format!("cannot listen on {address}; choose another address with --listen");
        return TcpListener::bind(address).await.with_context(taken);
    }
    let usual = SocketAddr::from(([127, 0, 0, 1], 8080));
    match TcpListener::bind(usual).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.context("no port is free"),
    }
}

/// The person's movies beside their recommendations, a click that changes an answer, and commands to try.
async fn show(
    engine: &Engine,
    dir: &Path,
    evaluation: Evaluation,
    address: SocketAddr,
    output: Output,
) -> Result<Shown> {
    let (liked, recommended) = (history(engine, PERSON), recommend(engine, PERSON)?);
    output.say(&format!("4. What person {PERSON} liked last, beside what they are recommended:\n"))?;
    say_beside(output, ["liked", "recommended"], &liked, &recommended)?;

    let visitor = format!("visitor-{}", Timestamp::now().as_micros() / 1_000_000);
    let clicked = Movie::new(CLICKED, &engine.item_here(CLICKED).unwrap_or_default());
    let before_click = recommend(engine, &visitor)?;
    engine.write(vec![click(&visitor)]).await?;
    let after_click = recommend(engine, &visitor)?;
    output.say(&format!("   Someone new sees what is popular, and after one click on {}:\n", clicked.title))?;
    say_beside(output, ["before the click", "after it"], &before_click, &after_click)?;

    // Somebody who has done nothing yet, so that the click shows.
    let known = |id: &String| engine.state().user(id, Timestamp::now()).is_some();
    let you = std::iter::once("you".to_owned()).chain((2..).map(|n| format!("you-{n}"))).find(|id| !known(id));
    let you = you.unwrap_or_default();
    let commands = vec![
        format!("curl 'http://{address}/v1/users/{you}/recommendations?limit=5'"),
        format!(
            "curl http://{address}/v1/events -H 'content-type: application/json' \\\n       \
             -d '{{\"events\": [{{\"type\": \"click\", \"user_id\": \"{you}\", \"item_id\": \"{CLICKED}\"}}]}}'"
        ),
        format!(
            "curl http://{address}/v1/recommendations -H 'content-type: application/json' \\\n       \
             -d '{{\"user_id\": \"{PERSON}\", \"limit\": 5, \"filter\": \"year >= 2005\"}}'"
        ),
    ];
    output
        .say("   To try while it serves. You are new; after the click (the second), the first answers otherwise:\n")?;
    for command in &commands {
        output.say(&format!("     {command}"))?;
    }
    output.say("")?;
    Ok(Shown {
        dir: dir.to_owned(),
        evaluation,
        person: PERSON.to_owned(),
        liked,
        recommended,
        visitor,
        clicked,
        before_click,
        after_click,
        commands,
    })
}

/// The latest liked movies of a person, the latest first.
fn history(engine: &Engine, user: &str) -> Vec<Movie> {
    let catalog = engine.catalog().snapshot();
    let mut history = engine.state().user(user, Timestamp::now()).map(|user| user.history).unwrap_or_default();
    history.sort_by_key(|liked| std::cmp::Reverse(liked.at));
    let movie = |row| Some(Movie::new(catalog.id(row)?, &catalog.attributes(row)));
    history.iter().filter_map(|liked| movie(liked.row)).take(SHOWN).collect()
}

/// A process that has just started may take longer than the budget of a request, and then answers with less than all
/// sources; so it is asked until it is warm.
fn recommend(engine: &Engine, user: &str) -> Result<Vec<Movie>> {
    let request = RecommendRequest { user_id: user.to_owned(), limit: Some(SHOWN), ..RecommendRequest::default() };
    let mut answer = engine.recommend_here(&request)?;
    for _ in 0..50 {
        if answer.degraded.is_empty() {
            break;
        }
        answer = engine.recommend_here(&request)?;
    }
    Ok(answer.items.iter().map(|item| Movie::new(&item.item_id, &item.attributes)).collect())
}

fn click(user: &str) -> Record {
    let now = Timestamp::now();
    Record::Event(Event {
        event_id: format!("demo-{user}-{CLICKED}"),
        event_type: "click".to_owned(),
        user_id: user.to_owned(),
        item_id: CLICKED.to_owned(),
        timestamp: now,
        value: None,
        session_id: None,
        received: None,
        request_id: None,
        properties: Attributes::new(),
    })
}

fn say_beside(output: Output, titles: [&str; 2], left: &[Movie], right: &[Movie]) -> Result<()> {
    const WIDTH: usize = 56;
    let mut beside = table(titles, [false, false]);
    for at in 0..left.len().max(right.len()) {
        let line = |movies: &[Movie]| movies.get(at).map(|movie| movie.line(WIDTH)).unwrap_or_default();
        beside.add_row([line(left), line(right)]);
    }
    let mut text = Vec::new();
    write_table(&mut text, &beside)?;
    let indented: String = String::from_utf8_lossy(&text).lines().map(|line| format!("   {line}\n")).collect();
    Ok(output.say(&indented)?)
}

fn print_json(shown: &Shown) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, shown)?;
    writeln!(out)
}
