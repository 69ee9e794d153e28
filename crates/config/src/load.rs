//! From the project file, the environment and the command line to a checked [`Config`].

use std::path::{Path, PathBuf};

use crate::error::{ConfigError, Origin, Problem};
use crate::schema::{all_keys, schema};
use crate::tree::Tree;
use crate::validate::validate;
use crate::{Config, check};

/// The name of the project file.
pub const FILE_NAME: &str = "tastemaker.toml";
/// What the names of environment variables that override a key begin with: `TASTEMAKER_RECOMMEND__LIMIT`.
pub const ENV_PREFIX: &str = "TASTEMAKER_";

/// The largest project file.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Where settings come from, each over the one before: defaults, the project file, the environment, `--set`.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The project file.
    pub path: PathBuf,
    /// Environment variables, name and value; those with another prefix are left alone, and those with no `__` unless they lack nothing else.
    pub env: Vec<(String, String)>,
    /// Dotted keys and values from the command line; the last of a key wins.
    pub overrides: Vec<(String, String)>,
}

impl LoadOptions {
    /// The project file at `path` with this process's environment.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let text = |os: std::ffi::OsString| os.into_string().ok();
        let env = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        Self { path: path.into(), env, overrides: Vec::new() }
    }

    /// Adds one `--set` argument, `section.key=value`.
    ///
    /// # Errors
    /// A sentence if there is no `=` or no key.
    pub fn set(&mut self, argument: &str) -> Result<(), InvalidOverride> {
        match argument.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                self.overrides.push((key.trim().to_owned(), value.to_owned()));
                Ok(())
            }
            _ => Err(InvalidOverride(argument.to_owned())),
        }
    }
}

/// A `--set` argument without `=`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'--set {0}' has no key and value; write --set section.key=value, such as --set embeddings.rank=128")]
pub struct InvalidOverride(String);

/// A configuration and where each of its values came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is in effect. A relative `storage.data_dir` and relative paths of feature views have been put under the folder of the project
    /// file.
    pub config: Config,
    pub(crate) tree: Tree,
}

impl Loaded {
    /// What a later check found wrong with the value of a key, with its place.
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        self.tree.problem(key, message.into())
    }
}

impl Config {
    /// Reads, lays over each other and checks everything in `options`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] lists every problem with its place.
    pub fn load(options: &LoadOptions) -> Result<Loaded, ConfigError> {
        let text = read(&options.path)?;
        let mut loaded = from_layers(&text, &options.path.display().to_string(), &options.env, &options.overrides)?;
        if let Some(folder) = options.path.parent() {
            let config = &mut loaded.config;
            let views = config.feature_views.iter_mut();
            let files = views.flat_map(|view| view.path.iter_mut().chain(&mut view.query_file));
            let tls = &mut config.redis.tls;
            let certificates = [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file].into_iter().flatten();
            for path in files.chain(certificates).chain([&mut config.storage.data_dir]) {
                *path = folder.join(&*path);
            }
        }
        Ok(loaded)
    }

    /// Checks the text of a project file, with nothing over it. Paths stay as they are written.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] lists every problem with its place.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        from_layers(text, FILE_NAME, &[], &[]).map(|loaded| loaded.config)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
        _ => ConfigError::Read { path: path.to_owned(), source },
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE_BYTES {
        let message = format!("it has {size} bytes; at most {MAX_FILE_BYTES} are allowed");
        return Err(failed(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message)));
    }
    std::fs::read_to_string(path).map_err(failed)
}

pub(crate) fn from_layers(
    text: &str,
    file: &str,
    env: &[(String, String)],
    overrides: &[(String, String)],
) -> Result<Loaded, ConfigError> {
    let schema = schema();
    let mut tree = Tree::defaults(crate::to_value(&Config::default()), file);
    let mut problems = tree.lay_file(text, schema);
    if problems.iter().any(|problem| problem.key.is_empty()) {
        return Err(ConfigError::Invalid(problems));
    }
    for (name, value) in env {
        let origin = Origin::Env { name: name.clone() };
        if let Some(segments) = env_key(name) {
            tree.lay_text(&segments, value, schema, origin);
        } else if let Some(key) = key_with_single_underscores(name) {
            let meant = key.replace('.', "__").to_uppercase();
            let message = format!("it sets nothing; to set {key}, write {ENV_PREFIX}{meant}");
            problems.push(Problem { key, origin, message, file: file.to_owned() });
        }
    }
    for (key, value) in overrides {
        let segments: Vec<String> = key.split('.').map(|segment| segment.trim().trim_matches('"').to_owned()).collect();
        tree.lay_text(&segments, value, schema, Origin::Set { key: key.clone() });
    }
    let config = check::typed(&mut tree, schema, &mut problems);
    validate(&config, &tree, &mut problems);
    if problems.is_empty() {
        return Ok(Loaded { config, tree });
    }
    problems.sort_by_key(place);
    Err(ConfigError::Invalid(problems))
}

/// `TASTEMAKER_RECOMMEND__LIMIT` as `recommend`, `limit`; `None` for any other variable.
fn env_key(name: &str) -> Option<Vec<String>> {
    let key = name.strip_prefix(ENV_PREFIX)?;
    let segments: Vec<String> = key.split("__").map(str::to_lowercase).collect();
    (segments.len() > 1 && segments.iter().all(|segment| !segment.is_empty())).then_some(segments)
}

/// The key that `TASTEMAKER_RECOMMEND_LIMIT` would set with two underscores.
fn key_with_single_underscores(name: &str) -> Option<String> {
    let name = name.strip_prefix(ENV_PREFIX)?.to_lowercase();
    all_keys().into_iter().find(|key| key.contains('.') && key.replace('.', "_") == name)
}

/// The order of a reader: down the file, then the environment, then the command line, then what is missing.
fn place(problem: &Problem) -> (u8, usize, usize) {
    match problem.origin {
        Origin::File { line, column, .. } => (0, line, column),
        Origin::Env { .. } => (1, 0, 0),
        Origin::Set { .. } => (2, 0, 0),
        Origin::Default => (3, 0, 0),
    }
}
