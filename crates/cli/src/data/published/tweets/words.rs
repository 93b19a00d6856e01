//! From a text to its words.

use std::borrow::Cow;

/// Entities of HTML that texts hold, besides those by number.
const ENTITIES: [(&str, char); 6] =
    [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\''), ("nbsp", ' ')];
/// Most characters between & and ; of an entity.
const LONGEST_ENTITY: usize = 8;

/// The words of a text, in order.
///
/// Entities of HTML become their characters, once, and letters lower case. Then, from left to right:
///
/// - `http://…`, `https://…` and `www.…`, up to a blank, a quote or a closing bracket, are the word `link`;
/// - `@` and the letters, digits and underscores behind it are `name`;
/// - a run of digits is `number`, also inside what looks like a word: `gr8` is `gr`, `number`;
/// - letters, with single apostrophes between them, are a word: `don't`;
/// - other characters up to the next blank, letter, digit or name are one word: `!!`, `:)`, `...`.
///
/// Source: lower case, `name` and `number` as in paper 004; the rest is ours, for it has none.
pub fn words(text: &str) -> Vec<String> {
    let text = decoded(text).to_lowercase();
    let (mut words, mut rest, mut before) = (Vec::new(), &text[..], ' ');
    while let Some(first) = rest.chars().next() {
        let (n_bytes, word) = next(rest, first, before);
        words.extend(word.map(Cow::into_owned));
        let (taken, others) = rest.split_at(n_bytes);
        before = taken.chars().next_back().unwrap_or(' ');
        rest = others;
    }
    words
}

/// Bytes of the next word or blank at the beginning of `rest`, and the word.
fn next(rest: &str, first: char, before: char) -> (usize, Option<Cow<'_, str>>) {
    let named = |n_bytes, word: &'static str| (n_bytes, Some(Cow::Borrowed(word)));
    if first.is_whitespace() {
        (first.len_utf8(), None)
    } else if is_link(rest, before) {
        named(span(rest, |c| !c.is_whitespace() && !"\"'()[]{}<>".contains(c)), "link")
    } else if let Some(n_bytes) = name(rest) {
        named(n_bytes, "name")
    } else if first.is_numeric() {
        named(span(rest, char::is_numeric), "number")
    } else if first.is_alphabetic() {
        let n_bytes = letters(rest);
        let word = &rest[..n_bytes];
        let word = if word.contains('’') { word.replace('’', "'").into() } else { word.into() };
        (n_bytes, Some(word))
    } else {
        let ends = |at: usize, c: char| {
            at > 0 && (c.is_whitespace() || c.is_alphanumeric() || name(&rest[at..]).is_some())
        };
        let end = rest.char_indices().find(|&(at, c)| ends(at, c)).map_or(rest.len(), |(at, _)| at);
        (end, Some(rest[..end].into()))
    }
}

/// Bytes of the characters at the beginning that are wanted.
fn span(text: &str, is_wanted: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_wanted(c)).unwrap_or(text.len())
}

fn is_link(rest: &str, before: char) -> bool {
    // A link may follow a word without a blank, but not www, which ends words such as awww.
    let behind = |start: &str| rest.strip_prefix(start).and_then(|path| path.chars().next());
    let is_address = |c: char| !c.is_whitespace();
    ["http://", "https://"].iter().any(|start| behind(start).is_some_and(is_address))
        || (!before.is_alphanumeric() && behind("www.").is_some_and(char::is_alphanumeric))
}

/// Bytes of `@` and the name behind it, if there is one.
fn name(rest: &str) -> Option<usize> {
    let name = rest.strip_prefix('@')?;
    let n_bytes = span(name, |c| c.is_alphanumeric() || c == '_');
    (n_bytes > 0).then_some(1 + n_bytes)
}

/// Bytes of letters, with single apostrophes between them, up to a link.
fn letters(rest: &str) -> usize {
    let (mut end, mut chars) = (0, rest.char_indices().peekable());
    while let Some((at, c)) = chars.next() {
        let is_inside = "'’".contains(c) && chars.peek().is_some_and(|(_, c)| c.is_alphabetic());
        if !(c.is_alphabetic() || is_inside) || is_link(&rest[at..], 'a') {
            break;
        }
        end = at + c.len_utf8();
    }
    end
}

/// The text with the entities of HTML as their characters.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let (mut decoded, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.char_indices().take(LONGEST_ENTITY + 1).find(|&(_, c)| c == ';');
        match end.and_then(|(end, _)| Some((end, entity(&rest[..end])?))) {
            Some((end, c)) => {
                decoded.push(c);
                rest = &rest[end + 1..];
            }
            None => decoded.push('&'),
        }
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// The character of an entity, without & and ;.
fn entity(name: &str) -> Option<char> {
    let Some(number) = name.strip_prefix('#') else {
        return ENTITIES.iter().find(|(known, _)| *known == name).map(|&(_, c)| c);
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &str) {
        assert_eq!(words(text).join(" "), wanted, "{text}");
    }

    #[test]
    fn names_numbers_and_links_are_replaced() {
        check(
            "@DawnRichard the 2 of us, 10,000 miles",
            "name the number of us , number , number miles",
        );
        check("gr8 4.5yo", "gr number number . number yo");
        check("see http://ff.im/-4cWuC!", "see link");
        check("[http://tr.im/ncPW] (https://a.b) now", "[ link ] ( link ) now");
        check("people....http://x.y come.http://z", "people .... link come . link");
        check("herehttp://x.y", "here link");
        check("www.x.com awww.no http://", "link awww . no http ://");
        check("me@you.com _@ann @ @@bob", "me name . com _ name @ @ name");
    }

    #[test]
    fn words_keep_inner_apostrophes_and_punctuation_runs_together() {
        check("Don't 'quote' it’s y'all's''", "don't ' quote ' it's y'all's ''");
        check("oh no!! :) :-/....but <3", "oh no !! :) :-/.... but < number");
        check("#hash_tag ÉTÉ naïve", "# hash _ tag été naïve");
        check(" \t\n", "");
        check("", "");
    }

    #[test]
    fn entities_are_decoded_once() {
        check("a &amp; b &lt;3 &quot;x&quot;", "a & b < number \" x \"");
        check("&#39;&#x27;&apos;", "'''");
        check("&amp;lt; &bogus; & &#1114112; AT&T", "& lt ; & bogus ; & &# number ; at & t");
    }

    #[test]
    fn any_text_has_words_without_blanks() {
        let pieces = [
            "a", "É", "’", "'", "@", "_", "&", ";", "#", "x", "&#x", "7", ".", "http://", "www.",
            "İ", "ß", "\u{301}", "❤", " ", "\u{a0}", "\u{fffd}", ")", "&lt", "½",
        ];
        let mut rng = core_tensors::Rng::new(0);
        for _ in 0..3000 {
            let text: String =
                (0..rng.below(12)).map(|_| pieces[rng.below(pieces.len())]).collect();
            let found = words(&text);
            let is_word = |word: &String| !word.is_empty() && !word.contains(char::is_whitespace);
            assert!(found.iter().all(is_word), "{text}: {found:?}");
            assert_eq!(found.is_empty(), decoded(&text).trim().is_empty(), "{text}: {found:?}");
        }
    }
}
