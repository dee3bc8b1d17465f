import EvaluationTasks
import FileAccess
import Glibc
import LlamaRuntime
import SharedPack

/// A method at a length: what the numbers of a row are made of.
struct ComparedCell {
  /// Mean negative log likelihoods of documents, in nats.
  var losses: [Double] = []
  /// Right answers and wrong ones, 1 and 0, by task.
  var answers: [ComparedTask: [Double]] = [:]
  /// Tokens a second, of each document.
  var readRates: [Double] = []
  var writeRates: [Double] = []
  /// Of documents.
  var viewBytes: [Double] = []
  var keptBytes: [Double] = []
  var indexBytes: [Double] = []
  /// Why a task was not asked.
  var faults: [String] = []

  func measures(_ bootstrap: Bootstrap) -> [String: Measure] {
    var measures = [
      "perplexity": bootstrap.mean(of: losses).mapped { exp($0) },
      "read_per_second": bootstrap.mean(of: readRates), "write_per_second": bootstrap.mean(of: writeRates),
      "view_bytes": Measure(mean(viewBytes)), "kept_bytes": Measure(mean(keptBytes)),
      "index_bytes": Measure(mean(indexBytes)),
    ]
    for (task, scores) in answers { measures[task.column] = .proportion(of: scores) }
    return measures
  }

  private func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(values.count, 1)) }
}

/// What is asked about texts.
enum ComparedTask: CaseIterable {
  case passkey, keyValue, fact, secondQuestion

  var column: String {
    switch self {
    case .passkey: "passkey"
    case .keyValue: "key_value"
    case .fact: "fact"
    case .secondQuestion: "second_question"
    }
  }
}

/// Texts and questions about them: the same ones for every method.
struct ComparedTexts {
  let options: CompareOptions
  /// Of the longest length that there are texts for.
  let documents: [[Int32]]
  let maker: RetrievalTaskMaker
  let facts: FactSampleMaker
  /// Tokens of a window.
  let window: Int

  /// Tokens of an answer, at most.
  static let factLimit = 24
  /// Tokens that are read one at a time behind a document, for the time that they take.
  static let timedCount = 16

  /// Tokens of a text that is asked about: question and answer have room behind it.
  func textLength(windows: Int) -> Int { windows * window - min(128, window / 4) }

  /// Reads all texts of a length, and asks about them.
  func measure(_ reader: ComparedReader, windows: Int) throws(Refusal) -> ComparedCell {
    var reader = reader
    var cell = ComparedCell()
    for document in documents { try score(document.suffix(windows * window), &reader, &cell) }
    for task in ComparedTask.allCases {
      do throws(Refusal) {
        for number in 0..<options.sampleCount {
          let isRight =
            task == .fact
            ? try askFact(number, windows: windows, &reader) : try ask(task, number, windows: windows, &reader)
          cell.answers[task, default: []].append(isRight ? 1 : 0)
        }
      } catch {
        guard error.name == .taskDoesNotFit || error.name == .rowLimit else { throw error }
        cell.answers[task] = nil
        cell.faults.append("\(task.column): \(error.fault)")
      }
    }
    return cell
  }

  private func score(
    _ document: ArraySlice<Int32>, _ reader: inout ComparedReader, _ cell: inout ComparedCell
  ) throws(Refusal) {
    let scored = Array(document.suffix(options.scored))
    let text = document.dropLast(options.scored)
    // The last tokens before those that are scored are what chunks and trees are searched for.
    let tail = Array(text.suffix(reader.rows / 2))
    let prompt = ComparedPrompt(
      text: Array(text.dropLast(tail.count)), question: tail, alone: tail,
      words: try reader.model.text(of: tail.suffix(256)))
    var read = try reader.read(prompt, room: options.scored + Self.timedCount)
    cell.readRates.append(Double(read.readCount) / max(read.seconds, 1e-9))
    cell.viewBytes.append(read.viewBytes)
    cell.keptBytes.append(read.keptBytes)
    cell.indexBytes.append(read.indexBytes)
    var logits = read.logits
    var timed = ContinuousClock.now
    var timedCount = scored.count - 1
    if reader.dependsOnSlices {
      // A later token must not decide what an earlier one sees.
      for token in scored.dropLast() {
        read.session.read(token, into: &read.logits)
        logits += read.logits
      }
    } else {
      logits += read.session.readAll(scored.dropLast())
      timedCount = Self.timedCount
      timed = .now
      for token in scored.suffix(1) + scored.prefix(Self.timedCount - 1) {
        read.session.read(token, into: &read.logits)
      }
    }
    try read.session.requireWhole()
    cell.writeRates.append(Double(timedCount) / max((ContinuousClock.now - timed).seconds, 1e-9))
    cell.losses.append(try LogProbabilities.meanLoss(of: scored, in: logits, reader.model))
  }

  private func ask(
    _ task: ComparedTask, _ number: Int, windows: Int, _ reader: inout ComparedReader
  ) throws(Refusal) -> Bool {
    let sample = try sample(task, number, windows: windows, reader.model)
    var prompt = ComparedPrompt(
      start: try reader.model.textStart(), text: sample.context, question: sample.turns[0].continuation,
      alone: sample.turns[0].prompt, words: try reader.model.text(of: sample.turns[0].continuation))
    guard let turn = sample.turns.last else { preconditionFailure("a sample has a question") }
    let rest = Array(turn.continuation.dropFirst(prompt.question.count))
    let limit = turn.answer.count + 4
    var read: ComparedText
    if rest.isEmpty {
      read = try reader.read(prompt, room: limit)
    } else if reader.searches {
      // What is stored is searched for the second question.
      (prompt.question, prompt.alone) = (turn.continuation, turn.prompt)
      prompt.words = try reader.model.text(of: rest)
      read = try reader.read(prompt, room: limit)
    } else {
      read = try reader.read(prompt, room: rest.count + limit)
      try read.read(rest)
    }
    let answer = try read.answer(reader.model, atMost: limit)
    return turn.rule.score(try reader.model.text(of: answer), tokens: answer, right: turn.answer) == 1
  }

  private func sample(
    _ task: ComparedTask, _ number: Int, windows: Int, _ model: LanguageModel
  ) throws(Refusal) -> RetrievalSample {
    let (name, depth): (RetrievalTask, Double?) =
      switch task {
      case .passkey: (.passkey, (Double(number) + 0.5) / Double(options.sampleCount))
      case .keyValue: (.keyValue, nil)
      case .fact: preconditionFailure("facts have samples of their own")
      case .secondQuestion: (.secondQuestion, nil)
      }
    do throws(SampleFault) {
      return try maker.sample(name, length: textLength(windows: windows), depth: depth, number: number)
    } catch {
      throw Refusal(.taskDoesNotFit, file: model.pack.path, structure: name.rawValue, error.fault)
    }
  }

  private func askFact(_ number: Int, windows: Int, _ reader: inout ComparedReader) throws(Refusal) -> Bool {
    let model = reader.model
    let sample = try facts.sample(.one, length: textLength(windows: windows), number: number, of: model)
    let frame = try model.readingFrame()
    let prompt = ComparedPrompt(
      start: frame.opening, text: sample.texts[0], question: try model.questionPrompt(sample.question, in: frame),
      alone: try model.chatTemplate != nil
        ? model.chatPrompt([.user(sample.question)]) : model.textPrompt(sample.question),
      words: sample.question)
    var read = try reader.read(prompt, room: Self.factLimit)
    return sample.isRight(try model.text(of: read.answer(model, atMost: Self.factLimit)))
  }
}
