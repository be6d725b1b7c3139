//! What the tests of `c4c index` stand on.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use c4c::{Log, Model, Options};
use rusqlite::Connection;
use serde_json::Value;

use crate::support::checkpoint::{Writer, TINY};
use crate::support::media::ffmpeg;

/// A folder with a checkpoint and a library of videos, and the index that is in it.
pub struct Shelf {
    folder: tempfile::TempDir,
}

impl Shelf {
    pub fn new() -> Self {
        let shelf = Shelf { folder: tempfile::tempdir().unwrap() };
        static CHECKPOINT: OnceLock<Vec<u8>> = OnceLock::new();
        let path = shelf.path("tiny.bin");
        let made = CHECKPOINT.get_or_init(|| {
            Writer::new(&TINY, 1).torch_save(&path, "");
            std::fs::read(&path).unwrap()
        });
        std::fs::write(&path, made).unwrap();
        std::fs::create_dir(shelf.path("videos")).unwrap();
        shelf
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        // Temporary folders may be reached through links.
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// Clips of a second, each of another colour.
    pub fn clips(&self, count: usize) -> Vec<PathBuf> {
        let clip = |i: usize| {
            let path = self.path(format!("clip{i}.mp4"));
            let hue = format!("hue=h={}:s={}", i * 67, 1 + i % 3);
            let source = "testsrc2=size=64x64:rate=8";
            ffmpeg(&["-f", "lavfi", "-i", source, "-vf", &hue, "-frames:v", "8", path.to_str().unwrap()]);
            path
        };
        (0..count).map(clip).collect()
    }

    /// So many copies of some clips, in folders of a hundred.
    pub fn copies(&self, count: usize, clips: &[PathBuf]) {
        for i in 0..count {
            let folder = self.path(format!("videos/{}", i / 100));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::copy(&clips[i % clips.len()], folder.join(format!("{i}.mp4"))).unwrap();
        }
    }

    /// 75 s, of which a multitude of windows is made.
    pub fn film(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let source = "testsrc2=size=64x64:rate=4";
        ffmpeg(&["-f", "lavfi", "-i", source, "-frames:v", "300", path.to_str().unwrap()]);
        path
    }

    pub fn tool(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_c4c"));
        command.args(args).current_dir(self.path("videos")).env_remove("C4C_MODEL");
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.tool(args).output().unwrap()
    }

    /// Indexes with the checkpoint, and returns the lines and the summary.
    pub fn index(&self, more: &[&str]) -> (Vec<Value>, Value) {
        let args = [&["index", ".", "--json", "--model", "../tiny.bin"][..], more].concat();
        let output = self.run(&args);
        let mut lines = lines(&output.stdout);
        let summary = lines.pop().unwrap_or_else(|| panic!("{}", text(&output.stderr)))["summary"].take();
        let clean = summary["failed"] == 0 && summary["unreadable"] == 0;
        assert_eq!(output.status.code(), Some(i32::from(!clean)), "{}", text(&output.stderr));
        (lines, summary)
    }

    pub fn search(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(&[&["search", "--json"][..], args].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        lines(&output.stdout)
    }

    /// That a command fails, and what it says.
    pub fn fails(&self, args: &[&str], part: &str) {
        let output = self.run(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: `{said}` does not say `{part}`");
    }

    pub fn db(&self) -> Connection {
        type Entry = unsafe extern "C" fn(
            *mut rusqlite::ffi::sqlite3,
            *mut *mut i8,
            *const rusqlite::ffi::sqlite3_api_routines,
        ) -> i32;
        // SAFETY: it is an entry point of this type, linked against the same SQLite.
        unsafe {
            let entry = std::mem::transmute::<*const (), Entry>(sqlite_vec::sqlite3_vec_init as *const ());
            rusqlite::ffi::sqlite3_auto_extension(Some(entry));
        }
        Connection::open(self.path("videos/library.db")).unwrap()
    }

    /// The vectors of every video, by its path in the index.
    pub fn vectors(&self) -> BTreeMap<PathBuf, Vec<Vec<f32>>> {
        let db = self.db();
        let select = "SELECT path, embedding FROM videos LEFT JOIN segments ON video = videos.id \
                      LEFT JOIN vectors ON vectors.rowid = segments.id ORDER BY path, start_us";
        let mut select = db.prepare(select).unwrap();
        let mut rows = select.query([]).unwrap();
        let mut vectors = BTreeMap::<PathBuf, Vec<Vec<f32>>>::new();
        while let Some(row) = rows.next().unwrap() {
            let path = row.get_ref(0).unwrap();
            let path =
                path.as_str().map(Path::new).unwrap_or_else(|_| OsStr::from_bytes(path.as_blob().unwrap()).as_ref());
            let floats = |bytes: Vec<u8>| bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            vectors.entry(path.into()).or_default().extend(row.get::<_, Option<Vec<u8>>>(1).unwrap().map(floats));
        }
        vectors
    }

    /// That the file is sound, alone, and has a vector for each segment and nothing else.
    pub fn sound(&self) {
        let db = self.db();
        let count =
            |what: &str| db.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get::<_, i64>(0)).unwrap();
        let verdict: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
        assert_eq!(count("pragma_foreign_key_check"), 0);
        let segments = count("segments");
        assert_eq!(count("vectors"), segments);
        assert_eq!(count("segments JOIN vectors ON vectors.rowid = segments.id"), segments);
        let strange = "videos WHERE (status = 0) <> EXISTS (SELECT 1 FROM segments WHERE video = videos.id)";
        assert_eq!(count(strange), 0);
        drop(db);
        for beside in ["library.db-journal", "library.db-wal", "library.db-shm"] {
            assert!(!self.path("videos").join(beside).exists(), "{beside} is left");
        }
    }

    pub fn model(&self) -> Model {
        Model::load(Options::new(self.path("tiny.bin")), Log::default()).unwrap()
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn lines(bytes: &[u8]) -> Vec<Value> {
    text(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
