//! The tokenizer against the ids that the original gives for tricky strings.

mod support;

use c4c::Tokenizer;

#[derive(Debug)]
struct Golden {
    text: String,
    encode: Vec<u32>,
    ids32: Vec<u32>,
}

fn goldens() -> Vec<Golden> {
    let json = std::fs::read(support::golden("tokenizer.json")).unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
    let ids = |v: &serde_json::Value| v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect();
    list.iter()
        .map(|g| Golden {
            text: g["text"].as_str().unwrap().into(),
            encode: ids(&g["encode"]),
            ids32: ids(&g["ids32"]),
        })
        .collect()
}

#[test]
fn all_goldens_match() {
    let tokenizer = Tokenizer::clip();
    let goldens = goldens();
    assert_eq!(goldens.len(), 28);
    for golden in goldens {
        let ids = tokenizer.encode(&golden.text).unwrap();
        assert_eq!(ids[1..ids.len() - 1], golden.encode, "{:?}", golden.text);
        let ids = tokenizer.model_ids(&golden.text, 32, false).unwrap();
        // The original pads, and keeps what follows an end token that the text spells out; neither can matter.
        let end = golden.ids32.iter().position(|&id| id == 49407).unwrap();
        assert_eq!(ids, golden.ids32[..=end], "{:?}", golden.text);
    }
}
