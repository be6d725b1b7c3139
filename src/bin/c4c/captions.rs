//! Sets of captioned videos, in the formats in which they are found.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use c4c::Cancel;
use serde_json::{Map, Value};

use crate::common::Failure;
use crate::walk::{absolute, reason, shown, walk, Rules};

/// How the columns and fields are called, the first that is there.
const VIDEO: [&str; 3] = ["video", "video_id", "path"];
const CAPTION: [&str; 3] = ["caption", "sentence", "text"];
/// The part of MSR-VTT's own file that is taken unless another was asked for.
const MSRVTT_SPLIT: &str = "test";

/// Videos and the texts that describe them.
#[derive(Debug, Default, PartialEq)]
pub struct Captions {
    /// The videos' names, in the order of their first captions; each has one at least.
    pub videos: Vec<String>,
    pub texts: Vec<Caption>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Caption {
    pub text: String,
    /// Its place among the videos.
    pub video: usize,
    /// The kind of caption, where the file has kinds.
    pub group: Option<String>,
}

/// A caption as it lies in a file.
struct Row<'a> {
    video: &'a str,
    text: &'a str,
    group: Option<&'a str>,
}

impl Captions {
    /// Reads a csv file with a header, JSON lines or a JSON array with an object for each video or caption, or
    /// MSR-VTT's own JSON file. With `split`, only what is said to be of it.
    ///
    /// # Errors
    /// When the file cannot be read, is none of these, or has no captions.
    pub fn read(path: &Path, split: Option<&str>) -> Result<Captions, Failure> {
        let failed = |e: &dyn std::fmt::Display| Failure::new(format_args!("{}: {e}", shown(path)));
        let bytes = std::fs::read(path).map_err(|e| failed(&reason(&e)))?;
        let text = String::from_utf8(bytes).map_err(|_| failed(&"is not UTF-8"))?;
        let text = text.trim_start_matches('\u{feff}');
        let captions = match text.trim_start().starts_with(['{', '[']) {
            true => json(text, split),
            false => csv(text, split),
        };
        let captions = captions.map_err(|e| failed(&e))?;
        match (captions.texts.len(), split) {
            (0, Some(split)) => Err(failed(&format_args!("has no captions of the split `{split}`"))),
            (0, None) => Err(failed(&"has no captions")),
            _ => Ok(captions),
        }
    }

    /// Only the videos for which `keep` says so, and their captions.
    pub fn keep(self, keep: &[bool]) -> Captions {
        let mut kept = Builder::default();
        for caption in self.texts.iter().filter(|caption| keep[caption.video]) {
            let (video, text) = (self.videos[caption.video].as_str(), caption.text.as_str());
            kept.add(Row { video, text, group: caption.group.as_deref() });
        }
        kept.captions
    }

    /// The video that each text is of.
    pub fn video_of_each(&self) -> Vec<usize> {
        self.texts.iter().map(|text| text.video).collect()
    }

    /// Each video's file below `folder`: the one of its name, else the one that has an ending of videos in addition.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn files(&self, folder: &Path, cancel: &Cancel) -> Result<Vec<Option<PathBuf>>, Failure> {
        let roots = absolute(&[folder.to_owned()])?;
        let Some(root) = roots.first() else { return Err(Failure::new("there is no folder")) };
        let mut by_name = HashMap::<PathBuf, PathBuf>::new();
        for found in walk(&roots, Rules { every_file: false, follow: true }, cancel).videos {
            let Ok(name) = found.path.strip_prefix(root).map(|name| name.with_extension("")) else { continue };
            // Of several, the one that the data sets themselves have, else the first.
            let better = !by_name.contains_key(&name) || found.path.extension().is_some_and(|ending| ending == "mp4");
            if better {
                by_name.insert(name, found.path);
            }
        }
        let file = |name: &String| {
            let name: PathBuf = Path::new(name).components().filter(|part| *part != Component::CurDir).collect();
            let path = root.join(&name);
            if path.is_file() {
                Some(path)
            } else {
                by_name.get(&name).cloned()
            }
        };
        Ok(self.videos.iter().map(file).collect())
    }
}

/// Captions as they come, and where each video has its place.
#[derive(Default)]
struct Builder {
    captions: Captions,
    places: HashMap<String, usize>,
}

impl Builder {
    fn add(&mut self, row: Row) {
        let Captions { videos, texts } = &mut self.captions;
        let video = *self.places.entry(row.video.to_owned()).or_insert_with(|| {
            videos.push(row.video.to_owned());
            videos.len() - 1
        });
        texts.push(Caption { text: row.text.to_owned(), video, group: row.group.map(str::to_owned) });
    }
}

fn csv(text: &str, split: Option<&str>) -> Result<Captions, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| e.to_string())?.clone();
    let column = |names: &[&str]| names.iter().find_map(|name| header.iter().position(|column| column == *name));
    let needed = |names: &[&str]| {
        column(names).ok_or_else(|| {
            let there: Vec<&str> = header.iter().collect();
            format!("has no column {}; its columns are {}", names.join(", or "), there.join(", "))
        })
    };
    let (video, caption, group) = (needed(&VIDEO)?, needed(&CAPTION)?, column(&["group"]));
    let split = match split {
        Some(split) => Some((needed(&["split"])?, split)),
        None => None,
    };
    let mut captions = Builder::default();
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        let field = |i: usize| record.get(i).unwrap_or_default();
        if split.is_none_or(|(column, split)| field(column) == split) {
            captions.add(Row { video: field(video), text: field(caption), group: group.map(field) });
        }
    }
    Ok(captions.captions)
}

fn json(text: &str, split: Option<&str>) -> Result<Captions, String> {
    let mut captions = Builder::default();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match value.map_err(|e| format!("is neither csv nor JSON: {e}"))? {
            Value::Object(whole) if whole.contains_key("sentences") => msrvtt(&whole, split, &mut captions)?,
            Value::Array(entries) => entries.iter().try_for_each(|e| entry(e, split, &mut captions))?,
            one => entry(&one, split, &mut captions)?,
        }
    }
    Ok(captions.captions)
}

/// An object for a video and its caption, or its captions.
fn entry(entry: &Value, split: Option<&str>, captions: &mut Builder) -> Result<(), String> {
    let odd = |what: &str| format!("has an entry without {what}: {}", excerpt(entry));
    let field = |names: &[&str]| names.iter().find_map(|name| entry.get(name)?.as_str());
    let video = field(&VIDEO).ok_or_else(|| odd(&VIDEO.join(", or ")))?;
    if let Some(split) = split {
        if field(&["split"]).ok_or_else(|| odd("split"))? != split {
            return Ok(());
        }
    }
    let texts: Option<Vec<&str>> = match entry.get("captions") {
        Some(several) => several.as_array().and_then(|texts| texts.iter().map(Value::as_str).collect()),
        None => field(&CAPTION).map(|text| vec![text]),
    };
    for text in texts.ok_or_else(|| odd("caption, or sentence, or text, or a list captions"))? {
        captions.add(Row { video, text, group: field(&["group"]) });
    }
    Ok(())
}

/// `{"videos": [{"video_id", "split"}], "sentences": [{"video_id", "caption"}]}`
fn msrvtt(whole: &Map<String, Value>, split: Option<&str>, captions: &mut Builder) -> Result<(), String> {
    let split = split.unwrap_or(MSRVTT_SPLIT);
    let list = |name: &str| whole.get(name).and_then(Value::as_array).ok_or_else(|| format!("has no list `{name}`"));
    let mut of_split = HashMap::new();
    for video in list("videos")? {
        let field = |name: &str| video.get(name).and_then(Value::as_str);
        let (Some(id), Some(of)) = (field("video_id"), field("split")) else {
            return Err(format!("has a video without video_id or split: {}", excerpt(video)));
        };
        of_split.insert(id, of == split);
    }
    for sentence in list("sentences")? {
        let field = |name: &str| sentence.get(name).and_then(Value::as_str);
        let (Some(video), Some(text)) = (field("video_id"), field("caption")) else {
            return Err(format!("has a sentence without video_id or caption: {}", excerpt(sentence)));
        };
        if of_split.get(video) == Some(&true) {
            captions.add(Row { video, text, group: None });
        }
    }
    Ok(())
}

/// The beginning of an entry, for messages.
fn excerpt(value: &Value) -> String {
    value.to_string().chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str, split: Option<&str>) -> Result<Captions, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("captions");
        std::fs::write(&path, content).unwrap();
        Captions::read(&path, split).map_err(|e| e.to_string())
    }

    fn pairs(captions: &Captions) -> Vec<(&str, &str)> {
        captions.texts.iter().map(|text| (captions.videos[text.video].as_str(), text.text.as_str())).collect()
    }

    #[test]
    fn every_format() {
        let expected = [("v1", "a, \"b\""), ("v2", "ü"), ("v1", "c")];
        let formats = [
            "key,vid_key,video_id,sentence\nret0,msr1,v1,\"a, \"\"b\"\"\"\nret1,msr2,v2,ü\nret2,msr1,v1,c\n",
            "\u{feff}caption, path\r\n\"a, \"\"b\"\"\",v1\r\nü,v2\r\nc,v1\r\n",
            "{\"video\": \"v1\", \"caption\": \"a, \\\"b\\\"\"}\n{\"video_id\": \"v2\", \"text\": \"ü\"}\n\n\
             {\"path\": \"v1\", \"captions\": [\"c\"]}",
            "[{\"video\": \"v1\", \"caption\": \"a, \\\"b\\\"\"}, {\"video\": \"v2\", \"sentence\": \"ü\"},
              {\"video\": \"v1\", \"captions\": [\"c\"]}]",
            "{\"info\": {}, \"videos\": [{\"video_id\": \"v1\", \"split\": \"test\", \"url\": \"\"},
              {\"video_id\": \"v2\", \"split\": \"test\"}, {\"video_id\": \"v0\", \"split\": \"train\"}],
              \"sentences\": [{\"video_id\": \"v0\", \"caption\": \"x\", \"sen_id\": 0},
              {\"video_id\": \"v1\", \"caption\": \"a, \\\"b\\\"\", \"sen_id\": 1},
              {\"video_id\": \"v2\", \"caption\": \"ü\", \"sen_id\": 2}, {\"video_id\": \"v1\", \"caption\": \"c\"}]}",
        ];
        for format in formats {
            let captions = read(format, None).unwrap();
            assert_eq!(pairs(&captions), expected, "{format}");
            assert_eq!(captions.videos, ["v1", "v2"]);
        }
        assert_eq!(pairs(&read(formats[4], Some("train")).unwrap()), [("v0", "x")]);
    }

    #[test]
    fn splits_and_groups() {
        let csv = "video,text,split,group\na,1,val,up\nb,2,test,down\n";
        assert_eq!(pairs(&read(csv, Some("val")).unwrap()), [("a", "1")]);
        assert_eq!(read(csv, None).unwrap().texts[1].group.as_deref(), Some("down"));
        let json = "{\"video\": \"a\", \"text\": \"1\", \"split\": \"val\", \"group\": \"up\"}";
        assert_eq!(read(json, Some("val")).unwrap().texts[0].group.as_deref(), Some("up"));
        assert!(read(json, Some("test")).unwrap_err().contains("no captions of the split `test`"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let says = |content: &str, split, part: &str| {
            let error = read(content, split).unwrap_err();
            assert!(error.contains(part), "`{error}` does not say `{part}`");
        };
        says("", None, "no column video");
        says("video,words\na,b\n", None, "no column caption, or sentence, or text; its columns are video, words");
        says("video,text\n", None, "has no captions");
        says("video,text\na,b\n", Some("test"), "no column split");
        says("video,text\na,b,c\n", None, "line: 2");
        says("{\"video\": \"a\"}", None, "without caption, or sentence, or text");
        says("{\"video\": \"a\", \"captions\": [1]}", None, "a list captions");
        says("{\"caption\": \"a\"}", None, "without video, or video_id, or path: {\"caption\":\"a\"}");
        says("{\"sentences\": []}", None, "no list `videos`");
        says("{\"video\": \"a\", \"text\": \"1\"}\n{oh", None, "line 2");
    }

    #[test]
    fn videos_are_left_out_with_their_captions() {
        let captions = read("video,text\na,1\nb,2\na,3\nc,4\n", None).unwrap().keep(&[false, true, true]);
        assert_eq!(pairs(&captions), [("b", "2"), ("c", "4")]);
        assert_eq!(captions.video_of_each(), [0, 1]);
    }

    #[test]
    fn files_are_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("sub")).unwrap();
        for name in ["a.mkv", "b.avi", "b.mp4", "b.webm", "sub/c.1.mp4", "d.txt", "e"] {
            std::fs::write(path(name), "").unwrap();
        }
        let names = "a,./b,b.avi,sub/c.1,d,d.txt,e,c.1,f";
        let rows: String = names.split(',').map(|name| format!("{name},x\n")).collect();
        let captions = read(&format!("video,text\n{rows}"), None).unwrap();
        let root = folder.path().canonicalize().unwrap();
        let found = captions.files(folder.path(), &Cancel::new()).unwrap();
        let expected = ["a.mkv", "b.mp4", "b.avi", "sub/c.1.mp4", "", "d.txt", "e", "", ""];
        let expected = expected.map(|name| (!name.is_empty()).then(|| root.join(name)));
        assert_eq!(found, expected);
        assert!(captions.files(&path("none"), &Cancel::new()).is_err());
    }
}
