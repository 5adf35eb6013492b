//! Path templates, and finding the one that a path fits.

use portcullis_core::head::{CanonicalPath, Marks, Segment};

/// Most segments of a template.
pub(crate) const SEGMENTS: usize = 64;
/// Most variables in one segment.
const VARIABLES: usize = 4;

/// A path template, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Piece>,
    pub(crate) trailing_slash: bool,
}

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Decoded text, and how it is printed.
    Literal { text: Box<str>, print: Box<str> },
    /// Literals around variables; there is one literal more than variables, and the inner ones are not empty. All
    /// in the canonical encoding. One variable between two empty literals is a whole segment.
    Variables { literals: Vec<Box<str>>, print: Vec<Box<str>>, names: Vec<Box<str>> },
}

impl Template {
    /// Takes `text` apart: a path that begins with `/`, variables in braces.
    ///
    /// # Errors
    /// A sentence that says why no request can ever fit, or what is ambiguous.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else { return Err("a path begins with `/`".to_owned()) };
        if let Some(c) = text.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(format!("a request's path never contains `{c}`"));
        }
        let mut segments = Vec::new();
        let mut trailing_slash = rest.is_empty();
        let mut pieces = split(rest)?.into_iter().peekable();
        while let Some(piece) = pieces.next() {
            if piece.is_empty() {
                if pieces.peek().is_some() {
                    return Err("an empty segment (`//`) is never let in".to_owned());
                }
                trailing_slash = true;
                break;
            }
            segments.push(Piece::parse(piece)?);
        }
        if segments.len() > SEGMENTS {
            return Err(format!("a path has at most {SEGMENTS} segments"));
        }
        let template = Self { segments, trailing_slash };
        let mut names: Vec<&str> = template.variables().collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows::<2>().find(|[a, b]| a == b) {
            return Err(format!("the variable `{name}` stands twice"));
        }
        Ok(template)
    }

    /// The variables in order.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments
            .iter()
            .flat_map(|piece| match piece {
                Piece::Literal { .. } => [].iter(),
                Piece::Variables { names, .. } => names.iter(),
            })
            .map(|name| &**name)
    }

    /// `base` in front of it.
    pub(crate) fn under(&self, base: &Template) -> Self {
        let segments = base.segments.iter().chain(&self.segments).cloned().collect();
        Self { segments, trailing_slash: self.trailing_slash }
    }
}

/// Splits at `/`, but not inside braces.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut pieces = Vec::new();
    let (mut start, mut open) = (0, false);
    for (i, b) in text.bytes().enumerate() {
        match b {
            b'{' if open => return Err("a brace stands inside braces".to_owned()),
            b'{' => open = true,
            b'}' if !open => return Err("a closing brace has no opening one".to_owned()),
            b'}' => open = false,
            b'/' if !open => {
                pieces.push(text.get(start..i).unwrap_or(""));
                start = i + 1;
            }
            _ => {}
        }
    }
    if open {
        return Err("a brace is not closed".to_owned());
    }
    pieces.push(text.get(start..).unwrap_or(""));
    Ok(pieces)
}

impl Piece {
    fn parse(text: &str) -> Result<Self, String> {
        let mut literals = Vec::new();
        let mut print = Vec::new();
        let mut names: Vec<Box<str>> = Vec::new();
        let mut rest = text;
        loop {
            let (literal, after) = match rest.split_once('{') {
                Some((literal, after)) => (literal, Some(after)),
                None => (rest, None),
            };
            let parsed = Literal::parse(literal)?;
            if names.is_empty() && after.is_none() {
                if parsed.text.bytes().all(|b| b == b'.' || b == b' ') {
                    return Err("a path segment of dots is never let in".to_owned());
                }
                return Ok(Self::Literal { text: parsed.text.into(), print: parsed.print.into() });
            }
            if literal.is_empty() && !names.is_empty() && after.is_some() {
                return Err("two variables stand side by side".to_owned());
            }
            literals.push(parsed.canonical.into());
            print.push(parsed.print.into());
            let Some(after) = after else { break };
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            if name.is_empty() {
                return Err("a variable has no name".to_owned());
            }
            names.push(name.into());
            rest = after;
        }
        if names.len() > VARIABLES {
            return Err(format!("a segment has at most {VARIABLES} variables"));
        }
        Ok(Self::Variables { literals, print, names })
    }
}

/// A literal in three spellings.
struct Literal {
    text: String,
    /// As `Segment::encoded` spells it.
    canonical: String,
    /// As the document writes it, what may not stand in a path encoded.
    print: String,
}

impl Literal {
    fn parse(literal: &str) -> Result<Self, String> {
        // The canonical path's own reading decides what can arrive at all.
        let raw: String =
            literal
                .chars()
                .map(|c| {
                    if c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c) {
                        c.to_string()
                    } else {
                        percent(c)
                    }
                })
                .collect();
        if literal.is_empty() {
            return Ok(Self { text: String::new(), canonical: String::new(), print: String::new() });
        }
        // A guard letter keeps `.` before `{` from being read as a segment of dots.
        let guarded = format!("/g{raw}");
        let path =
            CanonicalPath::parse(&guarded).map_err(|error| format!("{} is never let in", error.reason()))?;
        if path.is_marked() {
            return Err("an encoded slash or a semicolon in a literal is never let in".to_owned());
        }
        let segment = path.segment(0);
        let text = segment.and_then(|s| s.text.strip_prefix('g')).unwrap_or("").to_owned();
        let canonical = segment.map(|s| s.encoded().into_owned()).unwrap_or_default();
        let canonical = canonical.strip_prefix('g').unwrap_or("").to_owned();
        Ok(Self { text, canonical, print: raw })
    }
}

fn percent(c: char) -> String {
    let mut buffer = [0; 4];
    c.encode_utf8(&mut buffer).bytes().map(|b| format!("%{b:02X}")).collect()
}

/// What one variable of a template was filled with: a range in the encoded text of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) segment: u16,
    pub(crate) start: u32,
    /// `u32::MAX` is the whole segment.
    pub(crate) end: u32,
}

/// What the variables of a template were filled with, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    pub(crate) slots: smallvec::SmallVec<[Slot; 4]>,
}

impl Segments {
    /// How many variables there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the template has no variable.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// All templates of one API as a tree by segments. `T` is what stands at a path.
#[derive(Debug)]
pub(crate) struct Tree<T> {
    nodes: Vec<Branch>,
    ends: Vec<T>,
}

#[derive(Debug, Default)]
struct Branch {
    /// Sorted.
    literals: Vec<(Box<str>, u32)>,
    /// Most literal characters first.
    mixed: Vec<(Vec<Box<str>>, u32)>,
    variable: Option<u32>,
    end: Option<u32>,
    /// With a trailing slash.
    end_slash: Option<u32>,
}

impl<T> Tree<T> {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Branch::default()], ends: Vec::new() }
    }

    /// What stands at the shape of `template`, made by `make` when there is nothing yet.
    pub(crate) fn entry(&mut self, template: &Template, make: impl FnOnce() -> T) -> Option<&mut T> {
        let mut here = 0usize;
        for piece in &template.segments {
            let next = u32::try_from(self.nodes.len()).ok()?;
            let branch = self.nodes.get_mut(here)?;
            let child = match piece {
                Piece::Literal { text, .. } => match branch.literals.binary_search_by(|(t, _)| t.cmp(text)) {
                    Ok(i) => branch.literals.get(i)?.1,
                    Err(i) => {
                        branch.literals.insert(i, (text.clone(), next));
                        next
                    }
                },
                Piece::Variables { literals, .. } if is_whole(literals) => {
                    *branch.variable.get_or_insert(next)
                }
                Piece::Variables { literals, .. } => match branch.mixed.iter().find(|(l, _)| l == literals) {
                    Some((_, child)) => *child,
                    None => {
                        let weight = |l: &[Box<str>]| l.iter().map(|t| t.len()).sum::<usize>();
                        let i = branch.mixed.partition_point(|(l, _)| weight(l) >= weight(literals));
                        branch.mixed.insert(i, (literals.clone(), next));
                        next
                    }
                },
            };
            if child == next {
                self.nodes.push(Branch::default());
            }
            here = usize::try_from(child).ok()?;
        }
        let count = u32::try_from(self.ends.len()).ok()?;
        let branch = self.nodes.get_mut(here)?;
        let end = if template.trailing_slash { &mut branch.end_slash } else { &mut branch.end };
        let index = *end.get_or_insert(count);
        if index == count {
            self.ends.push(make());
        }
        self.ends.get_mut(usize::try_from(index).ok()?)
    }

    /// Everything that stands somewhere.
    pub(crate) fn ends_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.ends.iter_mut()
    }

    /// What stands at the template that `path` fits: literal before mixed before variable, with backtracking. Each
    /// node of the tree is visited at most once.
    pub(crate) fn find(&self, path: &CanonicalPath) -> Option<(&T, Segments)> {
        let mut segments = Segments::default();
        let root = self.nodes.first()?;
        let end = self.descend(root, path, 0, &mut segments)?;
        Some((self.ends.get(usize::try_from(end).ok()?)?, segments))
    }

    /// Recursion is as deep as the path has segments, at most 64.
    fn descend(
        &self,
        branch: &Branch,
        path: &CanonicalPath,
        depth: usize,
        found: &mut Segments,
    ) -> Option<u32> {
        let Some(segment) = path.segment(depth) else {
            return if path.trailing_slash() { branch.end_slash } else { branch.end };
        };
        let next = |child: u32| usize::try_from(child).ok().and_then(|i| self.nodes.get(i));
        if let Ok(i) = branch.literals.binary_search_by(|(text, _)| (**text).cmp(segment.text))
            && let Some((_, child)) = branch.literals.get(i)
            && let Some(end) = self.descend(next(*child)?, path, depth + 1, found)
        {
            return Some(end);
        }
        let before = found.slots.len();
        let place = u16::try_from(depth).ok()?;
        for (literals, child) in &branch.mixed {
            if capture(&segment, literals, place, found)
                && let Some(end) = self.descend(next(*child)?, path, depth + 1, found)
            {
                return Some(end);
            }
            found.slots.truncate(before);
        }
        if let Some(child) = branch.variable {
            found.slots.push(Slot { segment: place, start: 0, end: u32::MAX });
            if let Some(end) = self.descend(next(child)?, path, depth + 1, found) {
                return Some(end);
            }
            found.slots.truncate(before);
        }
        None
    }
}

fn is_whole(literals: &[Box<str>]) -> bool {
    matches!(literals, [a, b] if a.is_empty() && b.is_empty())
}

/// Fits `literals` to a segment; each variable is non-greedy and holds at least one character.
fn capture(segment: &Segment<'_>, literals: &[Box<str>], place: u16, found: &mut Segments) -> bool {
    let text = segment.encoded();
    let Some((first, inner)) = literals.split_first() else { return false };
    let Some((last, inner)) = inner.split_last() else { return false };
    if !text.starts_with(&**first) || !text.ends_with(&**last) {
        return false;
    }
    let (mut here, Some(end)) = (first.len(), text.len().checked_sub(last.len())) else { return false };
    let mut push = |start: usize, end: usize| {
        if let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) {
            found.slots.push(Slot { segment: place, start, end });
        }
    };
    for literal in inner {
        // At least one character before the literal.
        let Some(found) = text.get(here + 1..end).and_then(|rest| rest.find(&**literal)) else {
            return false;
        };
        let at = here + 1 + found;
        push(here, at);
        here = at + literal.len();
    }
    if here >= end {
        return false;
    }
    push(here, end);
    true
}

/// Marks of the segments of `path` that no variable filled: a literal never allows one.
pub(crate) fn marked(path: &CanonicalPath, found: &Segments, allowed: impl Fn(usize) -> Marks) -> bool {
    if !path.is_marked() {
        return false;
    }
    path.segments().enumerate().any(|(i, segment)| {
        let mut slots = found.slots.iter().enumerate().filter(|(_, slot)| usize::from(slot.segment) == i);
        match slots.next() {
            None => !segment.marks.is_empty(),
            Some((variable, _)) => !segment.marks.without(allowed(variable)).is_empty(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(templates: &[&str]) -> Tree<String> {
        let mut tree = Tree::new();
        for template in templates {
            let parsed = Template::parse(template).unwrap();
            tree.entry(&parsed, || (*template).to_owned()).unwrap();
        }
        tree
    }

    fn found(tree: &Tree<String>, path: &str) -> Option<(String, Vec<String>)> {
        let path = CanonicalPath::parse(path).unwrap();
        let (end, segments) = tree.find(&path)?;
        let values = segments.slots.iter().map(|slot| {
            let text = path.segment(slot.segment.into()).unwrap().encoded().into_owned();
            let end = if slot.end == u32::MAX { text.len() } else { slot.end as usize };
            text.get(slot.start as usize..end).unwrap().to_owned()
        });
        Some((end.clone(), values.collect()))
    }

    #[test]
    fn literal_before_mixed_before_variable_with_backtracking() {
        let tree = tree(&[
            "/",
            "/orders",
            "/orders/",
            "/orders/{id}",
            "/orders/mine",
            "/orders/{id}.json",
            "/orders/{id}:cancel",
            "/orders/{a}-{b}",
            "/orders/{id}/items",
            "/orders/mine/late",
            "/x/{a}/y",
            "/x/z/w",
            "/caf%C3%A9",
            "/a b",
            "/range/{from},{to}",
        ]);
        for (path, template, values) in [
            ("/", "/", vec![]),
            ("/orders", "/orders", vec![]),
            ("/orders/", "/orders/", vec![]),
            ("/orders/7", "/orders/{id}", vec!["7"]),
            ("/orders/mine", "/orders/mine", vec![]),
            ("/orders/%6dine", "/orders/mine", vec![]),
            ("/orders/7.json", "/orders/{id}.json", vec!["7"]),
            ("/orders/7%3Acancel", "/orders/{id}:cancel", vec!["7"]),
            ("/orders/7:cancel", "/orders/{id}:cancel", vec!["7"]),
            ("/orders/a-b-c", "/orders/{a}-{b}", vec!["a", "b-c"]),
            ("/orders/-b", "/orders/{id}", vec!["-b"]),
            ("/orders/--b", "/orders/{a}-{b}", vec!["-", "b"]),
            ("/orders/.json", "/orders/{id}", vec![".json"]),
            // Backtracks out of the literal.
            ("/orders/mine/items", "/orders/{id}/items", vec!["mine"]),
            ("/orders/a.json/items", "/orders/{id}/items", vec!["a.json"]),
            ("/x/z/y", "/x/{a}/y", vec!["z"]),
            ("/caf%c3%a9", "/caf%C3%A9", vec![]),
            ("/a%20b", "/a b", vec![]),
            ("/range/1,2", "/range/{from},{to}", vec!["1", "2"]),
        ] {
            let expected = Some((template.to_owned(), values.into_iter().map(str::to_owned).collect()));
            assert_eq!(found(&tree, path), expected, "{path}");
        }
        for path in ["/Orders", "/orders/7/", "/order", "/orders/7/items/8", "/x/z", "/range/1%2C2"] {
            assert_eq!(found(&tree, path), None, "{path}");
        }
    }

    #[test]
    fn templates_that_nothing_can_fit_are_refused() {
        for text in [
            "orders",
            "/a?x=1",
            "/a#b",
            "/a//b",
            "/{a}{b}",
            "/{a",
            "/a}",
            "/{}",
            "/{a}/{a}",
            "/../x",
            "/./x",
            "/{a{b}}",
            "/a%2Fb",
            "/a;b",
            "/a%zz",
            "/{a}-{b}-{c}-{d}-{e}",
            "/a\\b",
            "/%2e%2e",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        assert!(Template::parse(&"/a".repeat(65)).is_err());
        assert!(Template::parse("/v1/{name}.{ext}/{a/b}").is_ok());
    }

    #[test]
    fn one_shape_is_one_place() {
        let mut tree = tree(&["/a/{x}"]);
        let again = Template::parse("/a/{y}").unwrap();
        assert_eq!(tree.entry(&again, || "new".to_owned()).unwrap(), "/a/{x}");
    }

    proptest! {
        #[test]
        fn law_a_filled_template_is_found(
            shape in prop::collection::vec(prop_oneof![Just("{v}"), "[a-c]{1,2}".prop_map(|s| match s.as_str() {
                "a" => "a", "b" => "b", "c" => "c", "aa" => "aa", _ => "bc" })], 1..6),
            fill in "[a-c]{1,3}",
        ) {
            let template: String = shape.iter().enumerate().map(|(i, s)| format!("/{}", s.replace('v', &format!("v{i}")))).collect();
            let path: String = shape.iter().map(|s| format!("/{}", s.replace("{v}", &fill))).collect();
            let tree = tree(&[&template]);
            let (end, values) = found(&tree, &path).unwrap();
            prop_assert_eq!(end, template);
            prop_assert!(values.iter().all(|v| *v == fill));
        }
    }
}
