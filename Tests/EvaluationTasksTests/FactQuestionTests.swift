import EvaluationTasks
import Testing
import Tokenization

@Suite struct FactQuestionTests {
  private static func maker(seed: UInt64 = 1) throws -> (maker: FactSampleMaker, tokenizer: Tokenizer) {
    let tokenizer = try TinyTokenizer.make()
    let text = String(repeating: "It rained all day. Nobody came to the gate. ", count: 400)
    let haystack = Haystack([tokenizer.encode(text, addingBeginOfText: false)], tokenizer: tokenizer)
    return (FactSampleMaker(tokenizer: tokenizer, haystack: haystack, seed: seed), tokenizer)
  }

  @Test(arguments: FactQuestion.allCases)
  func factsStandInTheirTexts(_ question: FactQuestion) throws {
    let (maker, tokenizer) = try Self.maker()
    for number in 0..<20 {
      let sample = try maker.sample(question, length: 2000, number: number)
      #expect(sample.texts.reduce(0) { $0 + $1.count } == 2000)
      #expect(sample.texts.count == (question.hasTwoTexts ? 2 : 1))
      #expect(sample.statementRanges.count == (question.hasTwoTexts || question == .changed ? 2 : 1))
      let texts = sample.texts.map { tokenizer.decode($0) }
      for (index, value) in sample.values.enumerated() {
        let text = texts[question == .swapped ? 1 - index : question == .two ? index : 0]
        #expect(text.contains(value), "\(value)")
      }
      // A statement follows the end of a sentence.
      let first = try #require(sample.statementRanges.first)
      #expect(tokenizer.decode(sample.texts[0][..<first.lowerBound]).hasSuffix("."))
      let name = try #require(
        sample.question.split(separator: " ").first { $0.first?.isUppercase == true && $0 != "What" })
      #expect(!name.isEmpty && sample.question.hasSuffix("Answer in a few words."))
      #expect(try maker.sample(question, length: 2000, number: number).texts == sample.texts)
    }
    #expect(
      try Self.maker(seed: 2).maker.sample(question, length: 2000, number: 0).texts
        != maker.sample(question, length: 2000, number: 0).texts)
  }

  /// Both orders ask for the same of the same texts.
  @Test func swappedTextsAreTheSame() throws {
    let (maker, tokenizer) = try Self.maker()
    for number in 0..<10 {
      let (two, swapped) = (
        try maker.sample(.two, length: 2000, number: number), try maker.sample(.swapped, length: 2000, number: number)
      )
      #expect(two.texts == swapped.texts.reversed() && two.question == swapped.question && two.values == swapped.values)
      #expect(two.kind == swapped.kind)
      for (index, value) in two.values.enumerated() {
        let range = swapped.statementRanges[1 - index]
        #expect(tokenizer.decode(swapped.texts[swapped.text(ofStatement: 1 - index)][range]).contains(value))
      }
    }
  }

  @Test func changedFactsAskForTheSecondValue() throws {
    let (maker, tokenizer) = try Self.maker()
    let sample = try maker.sample(.changed, length: 2000, number: 3)
    let last = try #require(sample.statementRanges.last)
    #expect(tokenizer.decode(sample.texts[0][last]).contains(sample.values[0]))
    #expect(sample.statementRanges[0].upperBound <= last.lowerBound)
  }

  @Test func answersAreComparedAsWords() throws {
    let (maker, _) = try Self.maker()
    var sample = try maker.sample(.one, length: 2000, number: 0)
    sample.values = ["612"]
    #expect(sample.isRight("It is 612.") && sample.isRight("612") && !sample.isRight("1612") && !sample.isRight("6123"))
    sample.values = ["Figs", "oboe"]
    #expect(sample.isRight("the OBOE and figs") && !sample.isRight("figs"))
  }

  @Test func shortTextsAreRefused() throws {
    let (maker, _) = try Self.maker()
    #expect(throws: SampleFault.self) { try maker.sample(.one, length: 10, number: 0) }
  }
}

extension FactQuestion {
  fileprivate var hasTwoTexts: Bool { self == .two || self == .swapped }
}
