//! Functions, `CASE` and `CAST`.

use sqlparser::tokenizer::Token;

use super::{Parser, strength};
use crate::error::{At, ExprError, Problem};
use crate::typing::{self, Node};
use crate::{Ast, Comparison, Function, Kind, Literal};

impl Parser<'_> {
    pub(super) fn array_contains(&mut self) -> Result<Node, ExprError> {
        let at = self.tokens.here();
        self.tokens.skip(2);
        let list = self.expression(strength::NONE)?;
        self.tokens.expect_token(&Token::Comma)?;
        let value = self.expression(strength::NONE)?;
        self.tokens.expect_token(&Token::RParen)?;
        let depth = list.depth.max(value.depth);
        self.node(typing::contains(list, value)?, at, depth)
    }

    pub(super) fn call(&mut self) -> Result<Node, ExprError> {
        let at = self.tokens.here();
        let name = self.tokens.lower_word();
        self.tokens.skip(2);
        let arguments = self.arguments()?;
        self.called(&name, arguments, at)
    }

    fn arguments(&mut self) -> Result<Vec<Node>, ExprError> {
        self.refuse_query()?;
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
        Ok(arguments)
    }

    fn called(&mut self, name: &str, arguments: Vec<Node>, at: At) -> Result<Node, ExprError> {
        let Some((function, arity, signature)) = Function::find(name) else {
            return Err(ExprError::new(Problem::UnknownFunction { name: name.to_owned() }, at));
        };
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

    pub(super) fn case(&mut self) -> Result<Node, ExprError> {
        let at = self.tokens.here();
        self.tokens.skip(1);
        let subject = if self.tokens.is_word(0, "when") { None } else { Some(self.expression(strength::NONE)?) };
        let (mut conditions, mut values) = (Vec::new(), Vec::new());
        while self.tokens.accept("when") {
            let when = self.expression(strength::NONE)?;
            conditions.push(self.case_condition(subject.as_ref(), when)?);
            self.tokens.expect("then")?;
            values.push(self.expression(strength::NONE)?);
        }
        if conditions.is_empty() {
            return Err(self.tokens.expected("WHEN"));
        }
        values.push(match self.tokens.accept("else") {
            true => self.expression(strength::NONE)?,
            false => Node { ast: Ast::Literal(Literal::NULL), at, depth: 0 },
        });
        self.tokens.expect("end")?;
        let depth = conditions.iter().chain(&values).map(|node| node.depth).max().unwrap_or(0);
        let conditions = conditions.into_iter().map(|node| node.ast).collect();
        self.node(typing::case(conditions, values)?, at, depth)
    }

    /// `WHEN b`, or `WHEN a` of a `CASE` with a subject, which is copied into each comparison.
    fn case_condition(&mut self, subject: Option<&Node>, when: Node) -> Result<Node, ExprError> {
        let (at, depth) = (when.at, when.depth);
        let Some(subject) = subject else {
            return Ok(Node { ast: typing::condition(when, "WHEN")?, at, depth });
        };
        self.nodes += size(&subject.ast);
        let equal = typing::compare(Comparison::Equal, subject.clone(), when)?;
        self.node(equal, at, depth.max(subject.depth))
    }

    pub(super) fn cast(&mut self) -> Result<Node, ExprError> {
        let at = self.tokens.here();
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
}

fn size(ast: &Ast) -> usize {
    1 + ast.operands().into_iter().map(size).sum::<usize>()
}
