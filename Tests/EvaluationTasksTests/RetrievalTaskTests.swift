import SeededRandom
import Testing
import Tokenization

@testable import EvaluationTasks

/// What samples promise: contexts of the length that was asked for, answers where they are said to be, questions that
/// the same numbers make again.
@Suite struct RetrievalTaskTests {
  private let tokenizer: Tokenizer
  private static let chunkSize = 64
  private static let text = "It was a day of rain. Nobody came. We sat by the fire and read? The clock struck two. "

  init() throws { tokenizer = try TinyTokenizer.make() }

  private func maker(_ style: TaskStyle = .trainer, seed: UInt64 = 1) -> RetrievalTaskMaker {
    let document = tokenizer.encode(String(repeating: Self.text, count: 40), addingBeginOfText: false)
    return RetrievalTaskMaker(
      tokenizer: tokenizer, haystack: Haystack([document], tokenizer: tokenizer), chunkSize: Self.chunkSize,
      style: style, seed: seed)
  }

  @Test(arguments: RetrievalTask.allCases, TaskStyle.allCases)
  func layout(_ task: RetrievalTask, _ style: TaskStyle) throws {
    for number in 0..<12 {
      let length = 1024
      let sample = try maker(style).sample(task, length: length, depth: task.hasDepth ? 0.5 : nil, number: number)
      if task == .keyValue, style == .published {
        #expect(sample.context.count <= length && sample.context.count > length - 120)
      } else {
        #expect(sample.context.count == length)
      }
      #expect(sample.turns.count == (task == .secondQuestion ? 2 : 1))
      for turn in sample.turns {
        #expect(turn.prompt.first == tokenizer.beginOfTextToken)
        #expect(!turn.answerRanges.isEmpty)
        for range in turn.answerRanges {
          let there = tokenizer.decode([0] + sample.context[range]).filter { $0 != " " }
          let right = tokenizer.decode([0] + turn.answer).filter { $0 != " " }
          #expect(there.hasSuffix(right), "\(task) \(style) \(number)")
        }
        // The right answer is right, and no other one is.
        let text = tokenizer.decode([0] + turn.answer)
        if task != .multiNeedle || style == .trainer {
          #expect(turn.rule.score(text, tokens: turn.answer, right: turn.answer) == 1)
        }
        #expect(turn.rule.score("x 0", tokens: [5], right: turn.answer) == 0)
      }
      #expect(try sample == maker(style).sample(task, length: length, depth: task.hasDepth ? 0.5 : nil, number: number))
    }
    let one = try maker(style).sample(task, length: 1024, depth: 0, number: 0)
    #expect(try one != maker(style).sample(task, length: 1024, depth: 0, number: 1))
    #expect(try one != maker(style, seed: 2).sample(task, length: 1024, depth: 0, number: 0))
  }

  /// Depths are shares of the context, up to the end of the sentence before; 100 % is its end.
  @Test func depths() throws {
    for (depth, number) in zip([0, 0.25, 0.5, 0.75, 1], 0...) {
      let sample = try maker(.published).sample(.needle, length: 2048, depth: depth, number: number)
      let text = tokenizer.decode(sample.context)
      let start = try #require(text.firstRange(of: "The best thing to do in San Francisco"))
      let position = text.distance(from: text.startIndex, to: start.lowerBound)
      let statement = HiddenFact.publishedNeedle.statement.count + 1
      let expected = Double(2048 - statement) * depth
      #expect(Double(position) <= expected + 1 && Double(position) > expected - 48, "\(depth)")
      if depth == 1 { #expect(text.hasSuffix("on a sunny day.")) }
      let before = text[..<start.lowerBound].last { $0 != " " }
      #expect(before.map { ".?".contains($0) || depth == 1 } ?? true, "\(depth)")
    }
  }

  /// In the trainer's style a depth means every position in a chunk equally often: a search that always goes right must
  /// not profit.
  @Test func depthsFavourNoPositionInAChunk() throws {
    var quarters = [Int](repeating: 0, count: 4)
    for number in 0..<200 {
      let sample = try maker().sample(.passkey, length: 1024, depth: 0.5, number: number)
      let position = sample.turns[0].answerRanges[0].lowerBound
      #expect((400...620).contains(position), "\(position)")
      quarters[position % Self.chunkSize * 4 / Self.chunkSize] += 1
    }
    #expect(quarters.allSatisfy { $0 > 20 }, "\(quarters)")
  }

  /// The answer has tokens in two chunks.
  @Test func boundary() throws {
    for number in 0..<20 {
      let turn = try maker().sample(.boundary, length: 512, depth: nil, number: number).turns[0]
      let answer = turn.answerRanges[0]
      #expect(answer.lowerBound / Self.chunkSize + 1 == (answer.upperBound - 1) / Self.chunkSize, "\(number) \(answer)")
    }
    #expect(throws: SampleFault.self) { try maker().sample(.boundary, length: 64, depth: nil, number: 0) }
  }

  /// The second question is about another half of the context, and follows the first with its right answer.
  @Test func secondQuestion() throws {
    for number in 0..<10 {
      let sample = try maker().sample(.secondQuestion, length: 1024, depth: nil, number: number)
      let (first, second) = (sample.turns[0], sample.turns[1])
      #expect(
        first.answerRanges[0].lowerBound / 512 != (second.answerRanges[0].upperBound - 1) / 512
          || first.answerRanges != second.answerRanges)
      #expect(second.prompt.starts(with: first.prompt + first.answer))
      #expect(tokenizer.decode(second.prompt[first.prompt.count...]).contains(".\n"))
      #expect(second.continuation.starts(with: first.continuation + first.answer))
    }
  }

  /// Every chunk is the same, with the answer in it.
  @Test func repeatedContext() throws {
    let sample = try maker().sample(.repeatedContext, length: 320, depth: nil, number: 3)
    let chunk = sample.context[..<64]
    for start in stride(from: 0, to: 320, by: 64) { #expect(sample.context[start..<start + 64] == chunk) }
    #expect(sample.turns[0].answerRanges.count == 5)
  }

  /// A question reads as the trainer's: begin of text, a space, the question, what the answer follows.
  @Test func trainerFormat() throws {
    let turn = try maker().sample(.passkey, length: 512, depth: 0.5, number: 0).turns[0]
    let question = "What is the pass key? The pass key is"
    #expect(turn.prompt == [1] + tokenizer.encode(question, addingBeginOfText: false))
    #expect(tokenizer.piece(turn.prompt[1]) == Array("\u{2581}".utf8))
    #expect(turn.continuation == tokenizer.encodeContinuation("\n" + question))
    #expect(turn.answer.first.flatMap(tokenizer.piece) == Array("\u{2581}".utf8))
    for template in HiddenFact.templates + HiddenFact.passkeys {
      #expect(template.statement.contains(template.answer))
      #expect(!template.lead.contains(template.answer))
    }
  }

  @Test func rules() {
    #expect(AnswerRule.number("123").score(" 123.") == 1)
    #expect(AnswerRule.number("123").score("1234") == 0)
    #expect(AnswerRule.word("ring").score(" ring. A") == 1)
    #expect(AnswerRule.word("ring").score("rings") == 0)
    #expect(AnswerRule.words(["figs", "goat cheese"]).score("Figs!") == 0.5)
    #expect(AnswerRule.words(["a", "B", "c", "d"]).score("A or b") == 0.5)
    #expect(AnswerRule.anyWord(["a", "b"]).score("A") == 1)
    #expect(AnswerRule.anyWord(["a", "b"]).score("") == 0)
    #expect(AnswerRule.tokens.score("", tokens: [1, 2, 9], right: [1, 2, 3, 4]) == 0.5)
    // What is right or wrong is a proportion; what is right in part is not.
    let rules: [AnswerRule] = [.number("1"), .word("a"), .anyWord(["a", "b"]), .words(["a"])]
    #expect(rules.allSatisfy { $0.isYesOrNo })
    #expect(!AnswerRule.words(["a", "b"]).isYesOrNo && !AnswerRule.tokens.isYesOrNo)
  }

  @Test func tooShort() {
    for task in RetrievalTask.allCases {
      #expect(throws: SampleFault.self) { try maker().sample(task, length: 12, depth: 0, number: 0) }
    }
  }

  /// A short text is repeated; without a text there is the published noise.
  @Test func haystacks() {
    var random = SplitMix64(state: 1)
    let haystack = Haystack([[7, 8, 9]], tokenizer: tokenizer)
    #expect(haystack.stretch(7, &random) == [7, 8, 9, 7, 8, 9, 7])
    let noise = Haystack([], tokenizer: tokenizer).stretch(40, &random)
    #expect(tokenizer.decode([0] + noise).hasSuffix(" The grass is green. The sky is blue. Th"))
  }
}
