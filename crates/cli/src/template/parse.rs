//! Text to nodes.

use super::TemplateError;
use super::functions;
use serde_json::Value;

/// A piece of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    If { arms: Vec<(Pipeline, Vec<Node>)>, otherwise: Vec<Node> },
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    With { value: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Break,
    Continue,
}

/// Commands joined by `|`, whose value may be given to variables.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    /// `$x :=`, or `$i, $x :=` in a range.
    pub(super) variables: Vec<String>,
    /// `=` rather than `:=`.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A word of a command.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    Literal(Value),
    /// `.`
    Dot,
    /// `.A.B`, or fields of another operand: `$x.A`, `(…).A`.
    Fields(Box<Operand>, Vec<String>),
    Variable(String),
    Function(String),
    Group(Pipeline),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(serde_json::Number),
    Variable(String),
    /// `.A.B`; without names it is the dot. The flag says that it follows the token before directly.
    Fields(Vec<String>, bool),
    Open,
    Close,
    Pipe,
    Comma,
    Declare,
    Assign,
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// Where a list of nodes ended.
#[derive(PartialEq)]
enum Stop {
    End,
    Else(Vec<Token>),
    Eof,
}

fn error<T>(why: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(why.into()))
}

/// Parses a whole template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = cut(text)?.into_iter();
    let (nodes, stop) = list(&mut pieces)?;
    match stop {
        Stop::Eof => Ok(nodes),
        Stop::End => error("unexpected {{end}}"),
        Stop::Else(_) => error("unexpected {{else}}"),
    }
}

/// Cuts text and actions apart and trims where `{{-` and `-}}` ask for it.
fn cut(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_start = false;
    loop {
        let (before, action) = match rest.split_once("{{") {
            Some((before, action)) => (before, Some(action)),
            None => (rest, None),
        };
        let mut before = before;
        if trim_start {
            before = before.trim_start();
        }
        let Some(mut action) = action else {
            pieces.push(Piece::Text(before.to_owned()));
            return Ok(pieces);
        };
        if action.starts_with('-') && action[1..].starts_with(|c: char| c.is_whitespace()) {
            before = before.trim_end();
            action = &action[1..];
        }
        pieces.push(Piece::Text(before.to_owned()));
        if let Some(comment) = action.trim_start().strip_prefix("/*") {
            let Some((_, after)) = comment.split_once("*/") else { return error("unclosed comment") };
            let after = after.trim_start();
            (trim_start, rest) = match (after.strip_prefix("-}}"), after.strip_prefix("}}")) {
                (Some(rest), _) => (true, rest),
                (_, Some(rest)) => (false, rest),
                _ => return error("comment ends before closing delimiter"),
            };
            continue;
        }
        let (tokens, after, trim) = tokens(action)?;
        (trim_start, rest) = (trim, after);
        pieces.push(Piece::Action(tokens));
    }
}

/// The tokens of an action, what follows it, and whether that is to be trimmed.
fn tokens(mut rest: &str) -> Result<(Vec<Token>, &str, bool), TemplateError> {
    let mut tokens = Vec::new();
    let mut spaced = true;
    loop {
        let trimmed = rest.trim_start();
        spaced |= trimmed.len() < rest.len();
        if trimmed.len() < rest.len()
            && let Some(after) = trimmed.strip_prefix("-}}")
        {
            return Ok((tokens, after, true));
        }
        rest = trimmed;
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((tokens, after, false));
        }
        let Some(first) = rest.chars().next() else { return error("unclosed action") };
        let (token, used) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '|' => (Token::Pipe, 1),
            ',' => (Token::Comma, 1),
            '=' => (Token::Assign, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            '"' => quoted(rest)?,
            '`' => match rest[1..].find('`') {
                Some(end) => (Token::Text(rest[1..=end].to_owned()), end + 2),
                None => return error("unterminated raw quoted string"),
            },
            '$' => {
                let len = word_len(&rest[1..]);
                (Token::Variable(rest[1..=len].to_owned()), len + 1)
            }
            '.' => fields(rest, !spaced),
            c if c.is_ascii_digit() || c == '-' || c == '+' => number(rest)?,
            c if c.is_alphabetic() || c == '_' => {
                let len = word_len(rest);
                (Token::Word(rest[..len].to_owned()), len)
            }
            c => return error(format!("unexpected {c:?} in command")),
        };
        tokens.push(token);
        rest = &rest[used..];
        spaced = false;
    }
}

fn word_len(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

fn fields(text: &str, joined: bool) -> (Token, usize) {
    let mut names = Vec::new();
    let mut used = 0;
    while text[used..].starts_with('.') {
        let len = word_len(&text[used + 1..]);
        if len == 0 {
            used += usize::from(names.is_empty());
            break;
        }
        names.push(text[used + 1..used + 1 + len].to_owned());
        used += 1 + len;
    }
    (Token::Fields(names, joined), used)
}

fn quoted(text: &str) -> Result<(Token, usize), TemplateError> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(out), at + 1)),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(c @ ('\\' | '"' | '\'')) => out.push(c),
                Some(c) => return error(format!("unknown escape \\{c} in string")),
                None => break,
            },
            c => out.push(c),
        }
    }
    error("unterminated quoted string")
}

fn number(text: &str) -> Result<(Token, usize), TemplateError> {
    let len = text
        .char_indices()
        .skip(1)
        .find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_')))
        .map_or(text.len(), |(at, _)| at);
    let digits = text[..len].replace('_', "");
    let number = match (digits.parse::<i64>(), digits.parse::<f64>()) {
        (Ok(number), _) => Some(number.into()),
        (_, Ok(number)) => serde_json::Number::from_f64(number),
        _ => None,
    };
    match number {
        Some(number) => Ok((Token::Number(number), len)),
        None => error(format!("bad number syntax: {:?}", &text[..len])),
    }
}

fn list(pieces: &mut impl Iterator<Item = Piece>) -> Result<(Vec<Node>, Stop), TemplateError> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                if !text.is_empty() {
                    nodes.push(Node::Text(text));
                }
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        let keyword = match tokens.first() {
            Some(Token::Word(word)) => word.as_str(),
            Some(_) => "",
            None => return error("missing value for command"),
        };
        match keyword {
            "end" => return Ok((nodes, Stop::End)),
            "else" => return Ok((nodes, Stop::Else(tokens[1..].to_vec()))),
            "break" => nodes.push(Node::Break),
            "continue" => nodes.push(Node::Continue),
            "if" => nodes.push(conditional(&tokens[1..], pieces)?),
            "range" | "with" => {
                let value = pipeline(&tokens[1..])?;
                let (body, stop) = list(pieces)?;
                let otherwise = otherwise(&stop, pieces)?;
                nodes.push(if keyword == "range" {
                    Node::Range { over: value, body, otherwise }
                } else {
                    Node::With { value, body, otherwise }
                });
            }
            "define" | "template" | "block" => return error(format!("{keyword} is not supported here")),
            _ => nodes.push(Node::Print(pipeline(&tokens)?)),
        }
    }
    Ok((nodes, Stop::Eof))
}

fn conditional(tokens: &[Token], pieces: &mut impl Iterator<Item = Piece>) -> Result<Node, TemplateError> {
    let mut arms = Vec::new();
    let mut condition = pipeline(tokens)?;
    loop {
        let (body, stop) = list(pieces)?;
        arms.push((condition, body));
        match stop {
            Stop::Else(rest) if rest.first() == Some(&Token::Word("if".into())) => {
                condition = pipeline(&rest[1..])?;
            }
            stop => return Ok(Node::If { arms, otherwise: otherwise(&stop, pieces)? }),
        }
    }
}

fn otherwise(stop: &Stop, pieces: &mut impl Iterator<Item = Piece>) -> Result<Vec<Node>, TemplateError> {
    match stop {
        Stop::End => Ok(Vec::new()),
        Stop::Eof => error("unexpected EOF"),
        Stop::Else(_) => match list(pieces)? {
            (nodes, Stop::End) => Ok(nodes),
            (_, Stop::Eof) => error("unexpected EOF"),
            (_, Stop::Else(_)) => error("unexpected {{else}}"),
        },
    }
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, TemplateError> {
    let mut variables = Vec::new();
    let mut assigns = false;
    let mut rest = tokens;
    if let Some(at) = tokens.iter().position(|t| matches!(t, Token::Declare | Token::Assign)) {
        for token in &tokens[..at] {
            match token {
                Token::Variable(name) => variables.push(name.clone()),
                Token::Comma => {}
                _ => return error("only variables can stand before :="),
            }
        }
        assigns = tokens[at] == Token::Assign;
        rest = &tokens[at + 1..];
    }
    let mut at = 0;
    let commands = commands(rest, &mut at, false)?;
    Ok(Pipeline { variables, assigns, commands })
}

fn commands(tokens: &[Token], at: &mut usize, in_group: bool) -> Result<Vec<Vec<Operand>>, TemplateError> {
    let mut commands = vec![Vec::new()];
    loop {
        let token = tokens.get(*at);
        *at += 1;
        let operand = match token {
            None if in_group => return error("unclosed left paren"),
            Some(Token::Close) if !in_group => return error("unexpected right paren"),
            None | Some(Token::Close) => break,
            Some(Token::Pipe) => {
                commands.push(Vec::new());
                continue;
            }
            Some(Token::Open) => {
                let inner = self::commands(tokens, at, true)?;
                Operand::Group(Pipeline { variables: Vec::new(), assigns: false, commands: inner })
            }
            Some(Token::Text(text)) => Operand::Literal(text.as_str().into()),
            Some(Token::Number(number)) => Operand::Literal(Value::Number(number.clone())),
            Some(Token::Variable(name)) => Operand::Variable(name.clone()),
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Operand::Literal(true.into()),
                "false" => Operand::Literal(false.into()),
                "nil" => Operand::Literal(Value::Null),
                name if functions::exists(name) => Operand::Function(name.to_owned()),
                name => return error(format!("function \"{name}\" not defined")),
            },
            Some(Token::Fields(names, joined)) => {
                let command = commands.last_mut().and_then(Vec::pop);
                match command {
                    Some(base) if *joined => Operand::Fields(Box::new(base), names.clone()),
                    before => {
                        commands.last_mut().into_iter().for_each(|c| c.extend(before.clone()));
                        if names.is_empty() {
                            Operand::Dot
                        } else {
                            Operand::Fields(Box::new(Operand::Dot), names.clone())
                        }
                    }
                }
            }
            Some(token @ (Token::Comma | Token::Declare | Token::Assign)) => {
                return error(format!("unexpected {token:?} in command"));
            }
        };
        commands.last_mut().into_iter().for_each(|command| command.push(operand.clone()));
    }
    if commands.iter().any(Vec::is_empty) {
        return error("missing value for command");
    }
    Ok(commands)
}
