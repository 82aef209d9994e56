//! `arrange MODULE` puts the functions of a WebAssembly module in an order in which gzip finds more again.
//!
//! gzip looks back 32 kB. What a compiler made of one generic function for several types is alike, but may lie anywhere. Here each
//! function comes behind those that it shares most with. The module does what it did: only the numbers of its functions change.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::convert::Infallible;
use std::error::Error;
use std::{env, fs};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{CodeSectionReader, FunctionSectionReader, Parser, Payload, TypeRef};

/// How many bytes must be the same to be worth finding again.
const PIECE: usize = 6;

/// A piece that more functions have than this is in the window wherever they lie.
const MAX_OWNERS: usize = 200;

/// How many bytes gzip looks back, less what lies between.
const WINDOW: usize = 28_000;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("usage: arrange MODULE")?;
    let module = fs::read(&path)?;
    let mut arranged = Module::new();
    Arrangement::of(&module)?.parse_core_module(&mut arranged, Parser::new(0), &module)?;
    Ok(fs::write(path, arranged.finish())?)
}

/// A module's functions in their new order.
struct Arrangement {
    /// How many functions come from outside. They are numbered first.
    imported: u32,
    /// The function of each new place.
    order: Vec<usize>,
    /// The new place of each function.
    places: Vec<u32>,
}

impl Arrangement {
    fn of(module: &[u8]) -> Result<Self, Box<dyn Error>> {
        let (mut imported, mut bodies) = (0, Vec::new());
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::CodeSectionEntry(body) => bodies.push(body.as_bytes()),
                _ => (),
            }
        }
        let order = order(&bodies);
        let mut places = vec![0; order.len()];
        for (place, function) in (0..).zip(&order) {
            places[*function] = place;
        }
        Ok(Self { imported, order, places })
    }
}

impl Reencode for Arrangement {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error> {
        let own = function.checked_sub(self.imported);
        Ok(own.map_or(function, |own| self.imported + self.places[own as usize]))
    }

    fn parse_function_section(
        &mut self,
        written: &mut FunctionSection,
        read: FunctionSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        let types = read.into_iter().collect::<Result<Vec<_>, _>>()?;
        for function in &self.order {
            written.function(types[*function]);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        written: &mut CodeSection,
        read: CodeSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        let bodies = read.into_iter().collect::<Result<Vec<_>, _>>()?;
        for place in 0..self.order.len() {
            self.parse_function_body(written, bodies[self.order[place]].clone())?;
        }
        Ok(())
    }
}

/// The order in which each function comes behind those that it shares most with, for its size.
fn order(bodies: &[&[u8]]) -> Vec<usize> {
    let mut window = Window::over(bodies);
    let mut left: BTreeSet<usize> = (0..bodies.len()).collect();
    let mut order = Vec::with_capacity(bodies.len());
    while let Some(next) = left.iter().copied().reduce(|best, other| window.better(best, other)) {
        left.remove(&next);
        order.push(next);
        window.take(next);
    }
    order
}

/// What gzip sees of the functions that have their place.
struct Window<'b> {
    bodies: &'b [&'b [u8]],
    functions: VecDeque<usize>,
    size: usize,
    /// Of each function, how many different pieces it has.
    distinct: Vec<usize>,
    /// Of each function, the pieces that others have, too.
    pieces: Vec<Vec<usize>>,
    /// Of each piece, the functions that have it.
    owners: Vec<Vec<usize>>,
    /// How often each piece is in the window.
    seen: Vec<usize>,
    /// Of each function, how many of its pieces are in the window.
    found: Vec<usize>,
}

impl<'b> Window<'b> {
    fn over(bodies: &'b [&'b [u8]]) -> Self {
        let (mut numbers, mut distinct) = (HashMap::new(), vec![0; bodies.len()]);
        let mut owners: Vec<Vec<usize>> = Vec::new();
        for (function, body) in bodies.iter().enumerate() {
            for piece in body.windows(PIECE) {
                let number = *numbers.entry(piece).or_insert(owners.len());
                if number == owners.len() {
                    owners.push(Vec::new());
                }
                if owners[number].last() != Some(&function) {
                    owners[number].push(function);
                    distinct[function] += 1;
                }
            }
        }
        owners.retain(|owners| (2..=MAX_OWNERS).contains(&owners.len()));
        let mut pieces = vec![Vec::new(); bodies.len()];
        for (piece, owners) in owners.iter().enumerate() {
            owners.iter().for_each(|owner| pieces[*owner].push(piece));
        }
        let (seen, found) = (vec![0; owners.len()], vec![0; bodies.len()]);
        Self { bodies, functions: VecDeque::new(), size: 0, distinct, pieces, owners, seen, found }
    }

    /// Which of two functions has more in the window, for its size. The first, if neither.
    fn better(&self, one: usize, other: usize) -> usize {
        let share = |function: usize, beside: usize| self.found[function] * self.distinct[beside];
        if share(other, one) > share(one, other) { other } else { one }
    }

    /// Takes a function in, and lets the oldest go.
    fn take(&mut self, function: usize) {
        self.functions.push_back(function);
        self.size += self.bodies[function].len();
        for &piece in &self.pieces[function] {
            self.seen[piece] += 1;
            if self.seen[piece] == 1 {
                self.owners[piece].iter().for_each(|owner| self.found[*owner] += 1);
            }
        }
        while self.size > WINDOW {
            let Some(oldest) = self.functions.pop_front() else { break };
            self.size -= self.bodies[oldest].len();
            for &piece in &self.pieces[oldest] {
                self.seen[piece] -= 1;
                if self.seen[piece] == 0 {
                    self.owners[piece].iter().for_each(|owner| self.found[*owner] -= 1);
                }
            }
        }
    }
}
