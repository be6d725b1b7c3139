//! The cleaning that CLIP gives a caption before it is tokenized: ftfy's repairs, HTML entities, white space, case.

use once_cell::sync::Lazy;
use plsfix::fix_text;
use regex::Regex;

/// ftfy's pattern for terminal escapes; `plsfix` leaves a part of them standing.
static TERMINAL_ESCAPE: Lazy<Option<Regex>> = Lazy::new(|| Regex::new(r"\x1b\[[0-9;]*[A-Za-z]").ok());

/// Repairs `text`, unescapes HTML twice, collapses white space to single spaces and lower-cases the rest.
pub fn clean(text: &str) -> String {
    let text = match TERMINAL_ESCAPE.as_ref() {
        Some(escape) => escape.replace_all(text, ""),
        None => text.into(),
    };
    let text = fix_text(&text, None);
    let text = htmlize::unescape(htmlize::unescape(text));
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn repairs_what_ftfy_repairs() {
        assert_eq!(clean("  A \u{201c}Quoted\u{201d}\tWORD \u{fb01}ne \u{ff46}ull "), "a \"quoted\" word fine full");
        assert_eq!(clean("&amp;lt;b&amp;gt; \x1b[31mred\x1b[0m"), "<b> red");
        assert_eq!(clean("sch\u{c3}\u{b6}n"), "sch\u{f6}n");
        assert_eq!(clean("\u{a0}\u{2003}\n"), "");
    }
}
