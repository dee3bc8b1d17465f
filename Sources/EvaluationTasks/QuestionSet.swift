public import CanonicalJSON

/// Questions about documents, with other documents that distract.
public struct QuestionSet: Sendable {
  struct Question: Sendable {
    var text: String
    var answers: [String]
    /// Indices of the `documents` that the answer needs.
    var needed: [Int]
    /// Indices of documents on the same matter, which distract first.
    var near: [Int]
  }

  var questions: [Question] = []
  var documents: [String] = []

  /// SQuAD 2.0: `data` of `paragraphs` of `context` and `qas`. Questions without an answer are left out.
  /// - Throws: `SampleFault`.
  public init(squad json: JSONValue) throws(SampleFault) {
    guard let articles = json["data"]?.array else { throw SampleFault("data", "is missing or not a list") }
    var indices: [String: Int] = [:]
    for article in articles {
      guard let paragraphs = article["paragraphs"]?.array else {
        throw SampleFault("paragraphs", "is missing or not a list")
      }
      var own: [(Int, JSONValue)] = []
      for paragraph in paragraphs {
        own.append((index(of: try SampleFields(paragraph).text("context"), &indices), paragraph))
      }
      for (number, paragraph) in own {
        for question in paragraph["qas"]?.array ?? [] where question["is_impossible"]?.boolean != true {
          let answers = (question["answers"]?.array ?? []).compactMap { $0["text"]?.string }
          guard !answers.isEmpty else { throw SampleFault("answers", "has none") }
          questions.append(
            Question(
              text: try SampleFields(question).text("question"), answers: answers, needed: [number],
              near: own.map(\.0).filter { $0 != number }))
        }
      }
    }
    guard !questions.isEmpty else { throw SampleFault("qas", "has no question with an answer") }
  }

  /// HotpotQA with distractors: a list of `question`, `answer` and `context`, pairs of a title and sentences.
  /// - Throws: `SampleFault`.
  public init(hotpot json: JSONValue) throws(SampleFault) {
    guard let entries = json.array, !entries.isEmpty else { throw SampleFault("", "is not a list of questions") }
    var indices: [String: Int] = [:]
    for entry in entries {
      let fields = SampleFields(entry)
      var needed: [Int] = []
      for pair in entry["context"]?.array ?? [] {
        guard let title = pair.array?.first?.string, let sentences = pair.array?.last?.array else {
          throw SampleFault("context", "has an entry that is not a title with sentences")
        }
        needed.append(index(of: "\(title)\n\(sentences.compactMap(\.string).joined())", &indices))
      }
      questions.append(
        Question(
          text: try fields.text("question"), answers: [try fields.text("answer")], needed: needed, near: []))
    }
  }

  private mutating func index(of document: String, _ indices: inout [String: Int]) -> Int {
    if let index = indices[document] { return index }
    documents.append(document)
    indices[document] = documents.count - 1
    return documents.count - 1
  }
}
