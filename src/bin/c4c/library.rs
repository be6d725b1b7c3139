//! The index: one SQLite file with the sqlite-vec extension. `docs/index.md` describes it for other readers.

mod nearest;

pub use nearest::Hit;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ffi, params, Connection, ErrorCode, OpenFlags, OptionalExtension, Row};

use crate::common::Failure;
use crate::walk::{reason, shown, Found, Stamp};

/// Says in the file's header whose it is: "c4ci".
const APPLICATION_ID: i32 = 0x6334_6369;
/// Of the schema.
const VERSION: i32 = 1;
/// How long to wait for others who read, or who write for a moment.
const PATIENCE: Duration = Duration::from_secs(60);

const SCHEMA: &str = include_str!("library.sql");

/// What an index was made with; it holds for all of its vectors.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The checkpoint, absolute.
    pub model: PathBuf,
    /// Floats in one vector.
    pub dim: usize,
    /// Frames that stand for a video, or for a window of it.
    pub num_frames: usize,
    /// Whether pictures are turned as the container asks.
    pub rotate: bool,
    /// The length of the windows and from one's start to the next one's, in microseconds; None: a video is one vector.
    pub window_us: Option<(i64, i64)>,
    /// The vectors of [`crate::fingerprint`], `dim` floats each.
    pub probe_text: Vec<f32>,
    pub probe_video: Vec<f32>,
}

/// What the index knows of a file.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub id: i64,
    pub stamp: Stamp,
    /// 0, or the number of the [`c4c::Status`] that embedding it ended with.
    pub status: i32,
}

/// How much an index holds.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub videos: i64,
    pub failed: i64,
    pub vectors: i64,
}

/// An open index.
pub struct Library {
    db: Connection,
    path: PathBuf,
    /// Where the file is: the paths of videos below it are kept relative to it.
    folder: PathBuf,
    settings: Settings,
}

impl Library {
    /// The index at `path`, to be searched; others may write to it meanwhile.
    ///
    /// # Errors
    /// Where there is none, or something else.
    pub fn open(path: &Path) -> Result<Library, Failure> {
        if !path.exists() {
            let path = shown(path);
            return Err(Failure::new(format_args!(
                "there is no index {path}; name one with -i, or make it with: c4c index DIR -o {path}"
            )));
        }
        let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if is_empty(&db).map_err(|e| explain(path, e))? {
            let path = shown(path);
            return Err(Failure::new(format_args!("{path} holds no index yet; make it with: c4c index DIR -o {path}")));
        }
        Self::read(db, path)
    }

    /// The index at `path`, to be written to by nobody else until it is dropped; None where there is none yet.
    ///
    /// # Errors
    /// Where somebody else writes to it, or something else is there.
    pub fn open_to_write(path: &Path) -> Result<Option<Library>, Failure> {
        match path.metadata() {
            Ok(metadata) if metadata.len() > 0 => {}
            Ok(_) => return Ok(None),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                return match folder.filter(|folder| !folder.is_dir()) {
                    Some(folder) => Err(Failure::new(format_args!("there is no folder {}", shown(folder)))),
                    None => Ok(None),
                };
            }
            Err(e) => return Err(Failure::new(format_args!("{}: {}", shown(path), reason(&e)))),
        }
        let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        lock(&db, path)?;
        // A kill while it was made may have left nothing but a journal, which taking the lock has rolled back.
        match is_empty(&db).map_err(|e| explain(path, e))? {
            true => Ok(None),
            false => Self::read(db, path).map(Some),
        }
    }

    /// A new index at `path`, to be written to by nobody else until it is dropped.
    ///
    /// # Errors
    /// Where the file cannot be made, or somebody else has made it meanwhile.
    pub fn create(path: &Path, settings: Settings) -> Result<Library, Failure> {
        let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        lock(&db, path)?;
        let explain = |e| explain(path, e);
        if !is_empty(&db).map_err(explain)? {
            let path = shown(path);
            return Err(Failure::new(format_args!("{path} was made meanwhile; the same command goes on with it")));
        }
        let pragmas = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};");
        let schema = SCHEMA.replace("{dim}", &settings.dim.to_string());
        db.execute_batch(&(pragmas + &schema)).map_err(explain)?;
        let insert = "INSERT INTO settings VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            Stored(&settings.model),
            settings.dim as i64,
            settings.num_frames as i64,
            settings.rotate,
            settings.window_us.map(|(window, _)| window),
            settings.window_us.map(|(_, step)| step),
            bytes(&settings.probe_text),
            bytes(&settings.probe_video)
        ];
        db.execute(insert, values).map_err(explain)?;
        let folder = folder_of(path)?;
        let library = Library { db, path: path.to_owned(), folder, settings };
        library.commit()?;
        Ok(library)
    }

    fn read(db: Connection, path: &Path) -> Result<Library, Failure> {
        let explain = |e| explain(path, e);
        let pragma = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0));
        let (id, version) = (pragma("application_id").map_err(explain)?, pragma("user_version").map_err(explain)?);
        let name = shown(path);
        if id != APPLICATION_ID {
            return Err(Failure::new(format_args!("{name} is no index of c4c; name another file")));
        }
        if version != VERSION {
            return Err(Failure::new(format_args!(
                "{name} is an index of version {version}, this tool knows version {VERSION}; update the tool, or make \
                 the index anew"
            )));
        }
        let settings = db.query_row("SELECT * FROM settings", [], settings).map_err(explain)?;
        let folder = folder_of(path)?;
        Ok(Library { db, path: path.to_owned(), folder, settings })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// As it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every file that was embedded, or tried, by its absolute path.
    pub fn files(&self) -> Result<HashMap<PathBuf, Known>, Failure> {
        let files = || -> rusqlite::Result<HashMap<PathBuf, Known>> {
            let mut select = self.db.prepare("SELECT id, path, size, mtime_ns, status FROM videos")?;
            let rows = select.query_map([], |row| {
                let known = Known { id: row.get(0)?, stamp: stamp(row, 2)?, status: row.get(4)? };
                Ok((self.folder.join(path(row, 1)?), known))
            })?;
            rows.collect()
        };
        files().map_err(|e| self.explain(e))
    }

    /// Keeps what has become of files, all of it or nothing: in the place of what was known of them before.
    pub fn write(&self, outcomes: &[(Found, c4c::Result<c4c::Segments>)]) -> Result<(), Failure> {
        let write = || outcomes.iter().try_for_each(|(found, outcome)| self.put(found, outcome));
        write().map_err(|e| self.explain(e))?;
        self.commit()
    }

    fn put(&self, found: &Found, outcome: &c4c::Result<c4c::Segments>) -> rusqlite::Result<()> {
        let stored = Stored(found.path.strip_prefix(&self.folder).unwrap_or(&found.path));
        let before = self.db.prepare_cached("SELECT id FROM videos WHERE path = ?")?;
        if let Some(id) = { before }.query_row([&stored], |row| row.get(0)).optional()? {
            self.delete(id)?;
        }
        let (status, error) = match outcome {
            Ok(_) => (0, None),
            Err(e) => (e.status().code(), Some(e.message())),
        };
        let insert = "INSERT INTO videos (path, size, mtime_ns, status, error) VALUES (?, ?, ?, ?, ?)";
        let Stamp { size, mtime_ns } = found.stamp;
        self.db.prepare_cached(insert)?.execute(params![stored, size, mtime_ns, status, error])?;
        let video = self.db.last_insert_rowid();
        let Ok(segments) = outcome else { return Ok(()) };
        let mut segment = self.db.prepare_cached("INSERT INTO segments (video, start_us, end_us) VALUES (?, ?, ?)")?;
        let mut vector = self.db.prepare_cached("INSERT INTO vectors (rowid, embedding) VALUES (?, ?)")?;
        for ((start_us, end_us), row) in segments.times_us.iter().zip(segments.vectors.rows()) {
            segment.execute(params![video, start_us, end_us])?;
            vector.execute(params![self.db.last_insert_rowid(), bytes(&row.to_vec())])?;
        }
        Ok(())
    }

    /// Forgets these files.
    pub fn forget(&self, ids: &[i64]) -> Result<(), Failure> {
        ids.iter().try_for_each(|&id| self.delete(id)).map_err(|e| self.explain(e))?;
        self.commit()
    }

    fn delete(&self, id: i64) -> rusqlite::Result<()> {
        // A virtual table takes part in transactions, but not in foreign keys.
        let vectors = "DELETE FROM vectors WHERE rowid IN (SELECT id FROM segments WHERE video = ?)";
        self.db.prepare_cached(vectors)?.execute([id])?;
        self.db.prepare_cached("DELETE FROM videos WHERE id = ?")?.execute([id])?;
        Ok(())
    }

    /// Ends a transaction, and begins the next at once, so that nobody else writes in between.
    fn commit(&self) -> Result<(), Failure> {
        self.db.execute_batch("COMMIT; BEGIN IMMEDIATE").map_err(|e| self.explain(e))
    }

    pub fn counts(&self) -> Result<Counts, Failure> {
        let select = "SELECT count(*) FILTER (WHERE status = 0), count(*) FILTER (WHERE status <> 0), \
                      (SELECT count(*) FROM segments) FROM videos";
        let counts = |row: &Row| Ok(Counts { videos: row.get(0)?, failed: row.get(1)?, vectors: row.get(2)? });
        self.db.query_row(select, [], counts).map_err(|e| self.explain(e))
    }

    fn explain(&self, error: rusqlite::Error) -> Failure {
        explain(&self.path, error)
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Failure> {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        type Entry = unsafe extern "C" fn(*mut ffi::sqlite3, *mut *mut i8, *const ffi::sqlite3_api_routines) -> i32;
        // SAFETY: sqlite3_vec_init is such an entry point, whatever its declaration in Rust says, and linked against the
        // same SQLite as rusqlite; it is registered once, and stays for as long as the process.
        unsafe {
            let entry = std::mem::transmute::<*const (), Entry>(sqlite_vec::sqlite3_vec_init as *const ());
            ffi::sqlite3_auto_extension(Some(entry));
        }
    });
    let open = || {
        let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(PATIENCE)?;
        db.execute_batch("PRAGMA foreign_keys = ON")?;
        Ok(db)
    };
    open().map_err(|e| explain(path, e))
}

/// Whether nothing has ever been committed to it.
fn is_empty(db: &Connection) -> rusqlite::Result<bool> {
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let id: i32 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    Ok(tables == 0 && id == 0)
}

/// Takes the right to write, which SQLite gives to one at a time and the system takes back from a process that was
/// killed. Readers are not kept out but for the moment of a commit.
fn lock(db: &Connection, path: &Path) -> Result<(), Failure> {
    let lock = || {
        db.busy_timeout(Duration::ZERO)?;
        db.execute_batch("BEGIN IMMEDIATE")?;
        db.busy_timeout(PATIENCE)
    };
    lock().map_err(|e| explain(path, e))
}

/// A sentence for what SQLite says in a word.
fn explain(path: &Path, error: rusqlite::Error) -> Failure {
    let name = shown(path);
    let sentence = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("{name}: another program is writing to it; wait until it has ended, or name another file")
        }
        Some(ErrorCode::DiskFull) => {
            format!("{name}: the disk is full; what was committed is kept. Make room, and the same command goes on")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            format!("{name}: the file or its folder may not be written to; name another place")
        }
        Some(ErrorCode::CannotOpen) => {
            format!("{name}: it cannot be opened, or its folder may not be written to; name another place")
        }
        Some(ErrorCode::NotADatabase) => format!("{name} is no index of c4c; name another file"),
        Some(ErrorCode::DatabaseCorrupt) => format!("{name} is damaged; make the index anew"),
        _ => format!("{name}: {error}"),
    };
    Failure::new(sentence)
}

/// The folder that the index is really in.
fn folder_of(path: &Path) -> Result<PathBuf, Failure> {
    let real = path.canonicalize().map_err(|e| Failure::new(format_args!("{}: {}", shown(path), reason(&e))))?;
    Ok(real.parent().unwrap_or(Path::new("/")).to_owned())
}

/// A path as it is kept: text where it is text, else its bytes.
struct Stored<'p>(&'p Path);

impl rusqlite::ToSql for Stored<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0.to_str() {
            Some(text) => ValueRef::Text(text.as_bytes()),
            None => ValueRef::Blob(self.0.as_os_str().as_bytes()),
        }))
    }
}

fn path(row: &Row, column: usize) -> rusqlite::Result<PathBuf> {
    match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(PathBuf::from(OsStr::from_bytes(bytes))),
        other => Err(rusqlite::Error::InvalidColumnType(column, "path".into(), other.data_type())),
    }
}

fn stamp(row: &Row, first: usize) -> rusqlite::Result<Stamp> {
    Ok(Stamp { size: row.get(first)?, mtime_ns: row.get(first + 1)? })
}

fn settings(row: &Row) -> rusqlite::Result<Settings> {
    let count = |name: &str| row.get::<_, u32>(name).map(|n| n as usize);
    let window = (row.get::<_, Option<i64>>("window_us")?, row.get::<_, Option<i64>>("step_us")?);
    Ok(Settings {
        model: path(row, row.as_ref().column_index("model")?)?,
        dim: count("dim")?,
        num_frames: count("num_frames")?,
        rotate: row.get("rotate")?,
        window_us: window.0.zip(window.1),
        probe_text: floats(&row.get::<_, Vec<u8>>("probe_text")?),
        probe_video: floats(&row.get::<_, Vec<u8>>("probe_video")?),
    })
}

/// Little-endian, as sqlite-vec keeps vectors.
fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
