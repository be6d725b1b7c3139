//! The videos below a folder, and how paths are told.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use c4c::Cancel;
use walkdir::{DirEntry, WalkDir};

use crate::common::Failure;

/// The usual containers of video, by the names of their files.
const EXTENSIONS: [&str; 35] = [
    "3g2", "3gp", "amv", "asf", "avi", "divx", "dv", "f4v", "flv", "h264", "hevc", "ivf", "m2ts", "m2v", "m4v", "mj2",
    "mjpeg", "mkv", "mov", "mp4", "mpe", "mpeg", "mpg", "mts", "mxf", "nut", "ogm", "ogv", "qt", "rm", "rmvb", "ts",
    "vob", "webm", "wmv",
];

/// A file, and what tells whether it has changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Absolute.
    pub path: PathBuf,
    pub stamp: Stamp,
}

/// What of a file changes with its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// In bytes.
    pub size: i64,
    /// In nanoseconds since 1970.
    pub mtime_ns: i64,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Stamp {
        let mtime_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        Stamp { size: i64::try_from(metadata.len()).unwrap_or(i64::MAX), mtime_ns }
    }
}

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Every file, whatever its name.
    pub every_file: bool,
    /// Follows symbolic links, which are passed over otherwise.
    pub follow: bool,
}

/// What was found below some folders.
#[derive(Debug, Default)]
pub struct Walk {
    /// In the order of their names, each once.
    pub videos: Vec<Found>,
    /// Folders and files that could not be looked at, and why.
    pub unreadable: Vec<String>,
}

/// Finds the videos below `roots`, which are absolute. A root that is a file counts whatever its name. Hidden files and
/// folders are passed over. Ends early, with what it has, when `cancel` fires.
pub fn walk(roots: &[PathBuf], rules: Rules, cancel: &Cancel) -> Walk {
    let mut walk = Walk::default();
    let mut seen = HashSet::new();
    for root in roots {
        let entries = WalkDir::new(root).follow_links(rules.follow).sort_by_file_name().into_iter();
        for entry in entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
            if cancel.is_fired() {
                return walk;
            }
            match entry.and_then(|entry| video(&entry, rules)) {
                Ok(Some(found)) if seen.insert(found.path.clone()) => walk.videos.push(found),
                Ok(_) => {}
                Err(e) => walk.unreadable.push(escaped(&e.to_string())),
            }
        }
    }
    walk
}

/// The absolute paths of what was named, symbolic links resolved, so that a folder has one name however it was called.
pub fn absolute(roots: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let absolute =
        |root: &PathBuf| root.canonicalize().map_err(|e| Failure::new(format_args!("{}: {}", shown(root), reason(&e))));
    roots.iter().map(absolute).collect()
}

fn video(entry: &DirEntry, rules: Rules) -> walkdir::Result<Option<Found>> {
    let wanted = entry.depth() == 0 || rules.every_file || has_video_name(entry.path());
    if !entry.file_type().is_file() || !wanted {
        return Ok(None);
    }
    Ok(Some(Found { path: entry.path().to_owned(), stamp: Stamp::of(&entry.metadata()?) }))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

fn has_video_name(path: &Path) -> bool {
    let Some(extension) = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase) else { return false };
    EXTENSIONS.binary_search(&extension.as_str()).is_ok() && (extension != "ts" || !is_text(path))
}

/// TypeScript shares its name with MPEG's transport streams, which are never without a zero byte for long.
fn is_text(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut start));
    read.is_ok() && !start.contains(&0)
}

/// A path as people may see it: what is no text becomes U+FFFD, and what would move the cursor is escaped.
pub fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

/// A text that may hold anything, such as a path or a caption, without what would move the cursor.
pub fn escaped(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// A path for programs: `path` as text and, where it is none, `path_hex` with its bytes.
pub fn json(path: &Path) -> serde_json::Map<String, serde_json::Value> {
    let mut fields = serde_json::Map::new();
    fields.insert("path".into(), path.to_string_lossy().into());
    if path.to_str().is_none() {
        let hex: String = path.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        fields.insert("path_hex".into(), hex.into());
    }
    fields
}

/// The system's reason without its number.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_sorted_and_found() {
        assert!(EXTENSIONS.is_sorted());
        assert!(has_video_name("/a/b.MP4".as_ref()) && !has_video_name("/a/mp4".as_ref()));
        assert!(!has_video_name("/a/b.mp4.part".as_ref()));
    }

    #[test]
    fn paths_are_told() {
        let odd = Path::new(OsStr::from_bytes(b"a\x1b[1m\n\xff.mp4"));
        assert_eq!(shown(odd), "a\\u{1b}[1m\\n\u{fffd}.mp4");
        assert_eq!(json(odd)["path_hex"], "611b5b316d0aff2e6d7034");
        assert!(!json("a.mp4".as_ref()).contains_key("path_hex"));
    }
}
