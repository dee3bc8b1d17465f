/// A model's name as clients say it: that of the server's model and, behind an `@`, the documents that it is asked about
/// by those who can only choose a model.
struct ModelName: Sendable, Hashable {
  var model: String
  /// The name of a document, or a pattern; nil for none.
  var documents: String?

  /// - Parameters:
  ///   - text: of a request.
  ///   - served: the server's model.
  /// - Returns: nil when another model is asked for.
  init?(_ text: String, served: String) {
    if text == served {
      self.init(model: served, documents: nil)
      return
    }
    guard text.utf8.starts(with: "\(served)@".utf8), text.utf8.count > served.utf8.count + 1 else { return nil }
    self.init(model: served, documents: String(decoding: text.utf8.dropFirst(served.utf8.count + 1), as: UTF8.self))
  }

  init(model: String, documents: String?) {
    self.model = model
    self.documents = documents
  }

  var text: String { documents.map { "\(model)@\($0)" } ?? model }
}
