import CanonicalJSON
import Foundation
import Testing

@testable import EvaluationTasks

/// Scores are compared with published ones, so the metrics must be those of the published packages, quirks and all.
/// The fixture is what `Tools/verify/reference/benchmark_metrics.py` got of them.
@Suite struct PublishedMetricsTests {
  private static func fixture(_ name: String) throws -> [JSONValue] {
    let url = try #require(Bundle.module.url(forResource: "Fixtures/metrics", withExtension: "json"))
    return try #require(try JSONValue(parsing: Array(Data(contentsOf: url)))[name]?.array)
  }

  @Test func rouge() throws {
    let cases = try Self.fixture("rouge")
    #expect(cases.count > 60)
    for each in cases {
      let prediction = try #require(each["prediction"]?.string)
      let reference = try #require(each["reference"]?.string)
      let summary = try #require(each["summary_level"]?.number)
      let lines = try #require(each["line_level"]?.number)
      #expect(abs(Rouge.summaryLevel(prediction, reference) - summary) < 1e-12, "\(prediction) | \(reference)")
      #expect(abs(Rouge.lineLevel(prediction, reference) - lines) < 1e-12, "\(prediction) | \(reference)")
    }
  }

  @Test func similarity() throws {
    let cases = try Self.fixture("similarity")
    #expect(cases.count > 60)
    for each in cases {
      let prediction = try #require(each["prediction"]?.string)
      let reference = try #require(each["reference"]?.string)
      #expect(
        SequenceSimilarity.percent(prediction, reference) == each["percent"]?.integer, "\(prediction) | \(reference)")
    }
  }

  @Test func segmentation() throws {
    let url = try #require(Bundle.module.url(forResource: "Fixtures/metrics", withExtension: "json"))
    let json = try JSONValue(parsing: Array(Data(contentsOf: url)))
    let dictionary = try #require(json["dictionary"]?.string)
    let segmenter = try WordSegmenter(dictionary: dictionary)
    let boundaries = try WordSegmenter.BoundaryProbabilities(
      start: #require(json["boundaries"]?["start"]?.string),
      transitions: #require(json["boundaries"]?["transitions"]?.string),
      emissions: #require(json["boundaries"]?["emissions"]?.string))
    let joining = try WordSegmenter(dictionary: dictionary, boundaries: boundaries)
    let cases = try #require(json["segmentation"]?.array)
    #expect(cases.count > 60)
    for each in cases {
      let text = try #require(each["text"]?.string)
      for (segmenter, key) in [(segmenter, "words"), (joining, "joined")] {
        let words = try #require(each[key]?.array).compactMap(\.string)
        // Bytes, as a carriage return and a line feed are one character.
        let bytes: [[UInt8]] = words.map { Array($0.utf8) }
        #expect(segmenter.words(text).map { Array($0.utf8) } == bytes, "\(key): \(text)")
      }
    }
    #expect(cases.count { $0["words"]?.canonical != $0["joined"]?.canonical } > 20)
    for broken in ["", "{", "{'B': 'x'}", "{1}", "{'BM': {'\\x41': 1}}"] {
      var probabilities = boundaries
      probabilities.emissions = broken
      #expect(throws: SampleFault.self, "\(broken)") {
        try WordSegmenter(dictionary: dictionary, boundaries: probabilities)
      }
    }
    #expect(WordSegmenter.characters.words("清华 ab1大") == ["清", "华", " ", "ab1", "大"])
    for broken in ["", "word", "word x", "a -1"] {
      #expect(throws: SampleFault.self) { try WordSegmenter(dictionary: broken) }
    }
  }

  /// Values by hand.
  @Test func answerF1() {
    func f1(_ prediction: String, _ answer: String) -> Double {
      tokenF1(AnswerWords.english(prediction), AnswerWords.english(answer))
    }
    #expect(f1("The cat!", "a CAT") == 1)
    #expect(f1("the", "the") == 0)
    // Precision 1/2, recall 1/3.
    #expect(abs(f1("red dog", "red old cat") - 0.4) < 1e-12)
    // A word counts as often as both have it: 2 of 3 and 2 of 2.
    #expect(abs(f1("no no no", "no no") - 0.8) < 1e-12)
    // Articles between other characters than letters go, those within words stay.
    #expect(AnswerWords.english("the’s than a1 an") == ["’s", "than", "a1"].map { Array($0.unicodeScalars) })
    // The published list of marks has the closing 》 but not the opening 《.
    #expect(AnswerWords.chinese("《红楼梦》， A!") == Array("《红楼梦a".unicodeScalars))
    #expect(abs(tokenF1(AnswerWords.chinese("红楼"), AnswerWords.chinese("红楼梦。")) - 0.8) < 1e-12)
  }
}
