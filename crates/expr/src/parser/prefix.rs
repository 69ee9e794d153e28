//! What an expression can begin with: constants, columns, parameters, signs, parentheses, calls, `CASE` and `CAST`.

use std::sync::Arc;

use sqlparser::tokenizer::Token;
use tastemaker_types::{Timestamp, did_you_mean};

use super::{Parser, strength, too_large};
use crate::error::{At, ExprError, Problem};
use crate::functions::is_aggregate;
use crate::typing::{self, Node};
use crate::{Ast, Bind, Column, Comparison, Function, Kind, Literal, MAX_LIST, Operator, interval};

/// Words that cannot name a column unless they are quoted.
const RESERVED: [&str; 18] = [
    "and", "or", "not", "in", "is", "like", "ilike", "between", "when", "then", "else", "end", "any", "all", "some",
    "over", "from", "as",
];

impl Parser<'_> {
    pub(super) fn prefix(&mut self) -> Result<Node, ExprError> {
        let at = self.tokens.here();
        match self.tokens.peek().clone() {
            Token::Number(digits, _) => {
                self.tokens.skip(1);
                match digits.parse::<f64>() {
                    Ok(number) if number.is_finite() => self.leaf(Literal::Number(number), at),
                    _ => Err(ExprError::constant(format!("{digits} is not a finite number"), at)),
                }
            }
            Token::SingleQuotedString(text) => {
                self.tokens.skip(1);
                self.leaf(Literal::Text(text.into()), at)
            }
            Token::Colon => {
                let name = self.parameter()?;
                let literal = bound(&name, self.bind(&name, at)?, at)?;
                self.leaf(literal, at)
            }
            Token::Placeholder(_) => {
                Err(ExprError::unsupported("an unnamed parameter", at)
                    .remedy("parameters have names, as in :max_price"))
            }
            Token::LParen => {
                self.tokens.skip(1);
                self.refuse_query()?;
                let node = self.expression(strength::NONE)?;
                if matches!(self.tokens.peek(), Token::Comma) {
                    return Err(ExprError::unsupported("a list outside of IN", at));
                }
                self.tokens.expect_token(&Token::RParen)?;
                Ok(node)
            }
            Token::Minus => {
                self.tokens.skip(1);
                let operand = self.expression(strength::SIGN)?;
                let depth = operand.depth;
                let minus_one = Node { ast: Ast::Literal(Literal::Number(-1.0)), at, depth: 0 };
                self.node(typing::arithmetic(Operator::Multiply, operand, minus_one)?, at, depth)
            }
            Token::Plus => {
                self.tokens.skip(1);
                self.expression(strength::SIGN)
            }
            Token::Word(word) if word.quote_style.is_none() => self.word(&word.value, at),
            Token::Word(_) => self.column(at),
            _ => Err(self.tokens.expected("an expression")),
        }
    }

    fn word(&mut self, word: &str, at: At) -> Result<Node, ExprError> {
        let lower = word.to_ascii_lowercase();
        let called = matches!(self.tokens.peek_at(1), Token::LParen);
        let before_text = matches!(self.tokens.peek_at(1), Token::SingleQuotedString(_));
        match lower.as_str() {
            "not" => {
                self.tokens.skip(1);
                let operand = self.expression(strength::NOT)?;
                let depth = operand.depth;
                let condition = typing::condition(operand, "NOT")?;
                self.node(Ast::Not(Box::new(condition)), at, depth)
            }
            "true" | "false" => {
                self.tokens.skip(1);
                self.leaf(Literal::Bool(lower == "true"), at)
            }
            "null" => {
                self.tokens.skip(1);
                self.leaf(Literal::Null, at)
            }
            "case" => self.case(at),
            "select" | "with" | "exists" if called || lower == "select" => Err(subquery(at)),
            "cast" | "try_cast" if called => self.cast(at),
            "current_timestamp" if !called => {
                self.tokens.skip(1);
                self.leaf(Literal::Time(self.params.now), at)
            }
            "interval" if before_text || matches!(self.tokens.peek_at(1), Token::Number(..)) => self.interval(at),
            "timestamp" | "date" | "time" if before_text => self.time_constant(at),
            reserved if RESERVED.contains(&reserved) => Err(self.tokens.expected("an expression")),
            _ if called => self.call(&lower, word, at),
            _ => self.column(at),
        }
    }

    fn column(&mut self, at: At) -> Result<Node, ExprError> {
        let mut name = String::new();
        loop {
            match self.tokens.peek() {
                Token::Word(word) => name.push_str(&word.value),
                _ => return Err(self.tokens.expected("the name of an attribute")),
            }
            self.tokens.skip(1);
            if !self.tokens.accept_token(&Token::Period) {
                break;
            }
            name.push('.');
        }
        let Some((index, known, data_type)) = self.schema.find(&name) else {
            let hint = did_you_mean(&name, self.schema.names());
            return Err(ExprError::new(Problem::UnknownAttribute { name }, at).remedy(hint));
        };
        let Some(kind) = Kind::of(data_type) else {
            let message = format!("'{name}' holds {data_type} values, which expressions cannot read");
            return Err(ExprError::type_error(message, at));
        };
        let noun = match (kind, data_type) {
            (Kind::Text, arrow_schema::DataType::Dictionary(..)) => "tag",
            (Kind::Text, _) => "text",
            (Kind::Tags, _) => "tags",
            (Kind::Number, _) => "number",
            (Kind::Bool, _) => "bool",
            (Kind::Time, _) => "time",
            (Kind::Interval, _) => "interval",
        };
        let column = Column { index, name: Arc::clone(known), kind, noun };
        self.node(Ast::Column(column), at, 0)
    }

    fn call(&mut self, lower: &str, word: &str, at: At) -> Result<Node, ExprError> {
        self.tokens.skip(2);
        self.refuse_query()?;
        let Some((function, arity, signature)) = Function::find(lower) else {
            return match lower {
                "now" => {
                    self.tokens.expect_token(&Token::RParen)?;
                    self.leaf(Literal::Time(self.params.now), at)
                }
                "array_contains" => {
                    let list = self.expression(strength::NONE)?;
                    self.tokens.expect_token(&Token::Comma)?;
                    let value = self.expression(strength::NONE)?;
                    self.tokens.expect_token(&Token::RParen)?;
                    let depth = list.depth.max(value.depth);
                    self.node(typing::contains(list, value)?, at, depth)
                }
                _ if is_aggregate(lower) => {
                    Err(ExprError::unsupported(format!("the function '{word}' over many rows"), at).remedy(
                        "an expression sees one row at a time; greatest(a, b) and least(a, b) take values of one",
                    ))
                }
                _ => {
                    let hint = did_you_mean(lower, Function::names());
                    Err(ExprError::new(Problem::UnknownFunction { name: word.to_owned() }, at).remedy(hint))
                }
            };
        };
        let mut arguments = Vec::new();
        if !matches!(self.tokens.peek(), Token::RParen) {
            loop {
                arguments.push(self.expression(strength::NONE)?);
                if !self.tokens.accept_token(&Token::Comma) {
                    break;
                }
            }
        }
        self.tokens.expect_token(&Token::RParen)?;
        if !arity.contains(&arguments.len()) {
            let takes = match (*arity.start(), *arity.end()) {
                (1, 1) => "one argument".to_owned(),
                (least, most) if least == most => format!("{least} arguments"),
                (least, most) => format!("{least} to {most} arguments"),
            };
            let message = format!("{function} takes {takes}, not {}", arguments.len());
            return Err(ExprError::type_error(message, at));
        }
        let depth = arguments.iter().map(|node| node.depth).max().unwrap_or(0);
        self.node(typing::call(function, signature, arguments, at)?, at, depth)
    }

    fn case(&mut self, at: At) -> Result<Node, ExprError> {
        self.tokens.skip(1);
        let subject = if self.tokens.is_word(0, "when") { None } else { Some(self.expression(strength::NONE)?) };
        let (mut conditions, mut values, mut depth) = (Vec::new(), Vec::new(), 0);
        while self.tokens.accept("when") {
            let when = self.expression(strength::NONE)?;
            depth = depth.max(when.depth);
            conditions.push(match &subject {
                Some(subject) => {
                    self.nodes += size(&subject.ast);
                    let node_depth = when.depth.max(subject.depth);
                    let equal = typing::compare(Comparison::Equal, subject.clone(), when)?;
                    let equal = self.node(equal, at, node_depth)?;
                    depth = depth.max(equal.depth);
                    equal.ast
                }
                None => typing::condition(when, "WHEN")?,
            });
            self.tokens.expect("then")?;
            let then = self.expression(strength::NONE)?;
            depth = depth.max(then.depth);
            values.push(then);
        }
        if conditions.is_empty() {
            return Err(self.tokens.expected("WHEN"));
        }
        let otherwise = if self.tokens.accept("else") {
            self.expression(strength::NONE)?
        } else {
            Node { ast: Ast::Literal(Literal::Null), at, depth: 0 }
        };
        depth = depth.max(otherwise.depth);
        values.push(otherwise);
        self.tokens.expect("end")?;
        self.node(typing::case(conditions, values)?, at, depth)
    }

    fn cast(&mut self, at: At) -> Result<Node, ExprError> {
        self.tokens.skip(2);
        let operand = self.expression(strength::NONE)?;
        self.tokens.expect("as")?;
        let to = self.cast_type()?;
        self.tokens.expect_token(&Token::RParen)?;
        let depth = operand.depth;
        self.node(typing::cast(operand, to)?, at, depth)
    }

    pub(super) fn cast_type(&mut self) -> Result<Kind, ExprError> {
        const TYPES: [(&str, Kind); 14] = [
            ("number", Kind::Number),
            ("double", Kind::Number),
            ("float", Kind::Number),
            ("real", Kind::Number),
            ("numeric", Kind::Number),
            ("decimal", Kind::Number),
            ("text", Kind::Text),
            ("varchar", Kind::Text),
            ("string", Kind::Text),
            ("tag", Kind::Text),
            ("bool", Kind::Bool),
            ("boolean", Kind::Bool),
            ("timestamp", Kind::Time),
            ("time", Kind::Time),
        ];
        const WHOLE: [&str; 5] = ["int", "integer", "bigint", "smallint", "int8"];
        let at = self.tokens.here();
        let Token::Word(word) = self.tokens.peek() else { return Err(self.tokens.expected("a type")) };
        let name = word.value.to_ascii_lowercase();
        let Some((_, kind)) = TYPES.iter().find(|(known, _)| *known == name) else {
            let error = ExprError::unsupported(format!("the type '{name}'"), at);
            return Err(if WHOLE.contains(&name.as_str()) {
                error.remedy("numbers are 64-bit floats; use round(x) or floor(x)")
            } else {
                error.remedy("the types are number, text, bool and timestamp")
            });
        };
        self.tokens.skip(1);
        if name == "double" {
            self.tokens.accept("precision");
        }
        Ok(*kind)
    }

    fn interval(&mut self, at: At) -> Result<Node, ExprError> {
        let length = match self.tokens.peek_at(1) {
            Token::Number(text, _) | Token::SingleQuotedString(text) => text.clone(),
            _ => return Err(self.tokens.expected("an interval")),
        };
        self.tokens.skip(2);
        let unit = match (self.tokens.peek(), length.trim().parse::<f64>()) {
            (Token::Word(word), Ok(number)) => Some((number, word.value.clone())),
            _ => None,
        };
        let micros = match unit {
            Some((number, unit)) => {
                self.tokens.skip(1);
                interval::of_unit(number, &unit)
            }
            None => interval::parse(&length),
        };
        self.leaf(Literal::Interval(micros.map_err(|message| ExprError::constant(message, at))?), at)
    }

    fn time_constant(&mut self, at: At) -> Result<Node, ExprError> {
        let Token::SingleQuotedString(text) = self.tokens.peek_at(1) else {
            return Err(self.tokens.expected("a time"));
        };
        let time: Timestamp = text.parse().map_err(|error| ExprError::constant(format!("{error}"), at))?;
        self.tokens.skip(2);
        self.leaf(Literal::Time(time), at)
    }

    /// What follows `= ANY`.
    pub(super) fn any(&mut self, op: Comparison, value: Node) -> Result<Node, ExprError> {
        let at = value.at;
        if op != Comparison::Equal {
            return Err(ExprError::unsupported(format!("{} ANY", op.symbol()), at)
                .remedy("write NOT ('x' = ANY(list)) for a list without it"));
        }
        self.tokens.expect_token(&Token::LParen)?;
        self.refuse_query()?;
        if let Some(items) = self.bound_list()? {
            self.tokens.expect_token(&Token::RParen)?;
            let depth = value.depth;
            return self.node(typing::in_list(value, items)?, at, depth);
        }
        let list = self.expression(strength::NONE)?;
        self.tokens.expect_token(&Token::RParen)?;
        let depth = value.depth.max(list.depth);
        self.node(typing::contains(list, value)?, at, depth)
    }

    /// What follows `IN`.
    pub(super) fn in_items(&mut self) -> Result<Vec<Node>, ExprError> {
        self.tokens.expect_token(&Token::LParen)?;
        self.refuse_query()?;
        let mut items = Vec::new();
        if self.tokens.accept_token(&Token::RParen) {
            return Ok(items);
        }
        loop {
            let at = self.tokens.here();
            match self.bound_list()? {
                Some(bound) => items.extend(bound),
                None => {
                    items.push(self.expression(strength::NONE)?);
                    // The list counts as one operand; it has a limit of its own.
                    self.nodes = self.nodes.saturating_sub(1);
                }
            }
            if items.len() > MAX_LIST {
                return Err(too_large("the list has", format!("{} values", items.len()), MAX_LIST, at));
            }
            if !self.tokens.accept_token(&Token::Comma) {
                break;
            }
        }
        self.tokens.expect_token(&Token::RParen)?;
        Ok(items)
    }

    /// The members of the parameter that comes next, if it is a list.
    fn bound_list(&mut self) -> Result<Option<Vec<Node>>, ExprError> {
        let (Token::Colon, Token::Word(word)) = (self.tokens.peek(), self.tokens.peek_at(1)) else { return Ok(None) };
        let at = self.tokens.here();
        let name = word.value.clone();
        let Bind::List(members) = self.bind(&name, at)? else { return Ok(None) };
        if members.len() > MAX_LIST {
            return Err(too_large("the list has", format!("{} values", members.len()), MAX_LIST, at));
        }
        let items = members
            .iter()
            .map(|member| Ok(Node { ast: Ast::Literal(bound(&name, member, at)?), at, depth: 0 }))
            .collect::<Result<_, ExprError>>()?;
        self.tokens.skip(2);
        Ok(Some(items))
    }

    fn parameter(&mut self) -> Result<String, ExprError> {
        self.tokens.skip(1);
        let Token::Word(word) = self.tokens.peek() else { return Err(self.tokens.expected("the name of a parameter")) };
        let name = word.value.clone();
        self.tokens.skip(1);
        Ok(name)
    }

    fn refuse_query(&self) -> Result<(), ExprError> {
        match self.tokens.is_word(0, "select") {
            true => Err(subquery(self.tokens.here())),
            false => Ok(()),
        }
    }
}

fn subquery(at: At) -> ExprError {
    ExprError::unsupported("a subquery", at).remedy("an expression sees one row at a time; bind values as parameters")
}

fn bound(name: &str, bind: &Bind, at: At) -> Result<Literal, ExprError> {
    Ok(match bind {
        Bind::Null(()) => Literal::Null,
        Bind::Bool(value) => Literal::Bool(*value),
        Bind::Number(value) if value.is_finite() => Literal::Number(*value),
        Bind::Number(value) => return Err(ExprError::constant(format!("parameter ':{name}' is {value}"), at)),
        Bind::Text(value) => Literal::Text(value.as_str().into()),
        Bind::Time(value) => Literal::Time(*value),
        Bind::List(_) => {
            return Err(ExprError::type_error(format!("parameter ':{name}' is a list"), at)
                .remedy(format!("use it as IN (:{name}) or = ANY(:{name}), and do not nest lists")));
        }
    })
}

fn size(ast: &Ast) -> usize {
    1 + ast.operands().into_iter().map(size).sum::<usize>()
}
