import ContextTrees
import FileAccess
import LlamaRuntime
import NodeBlocks
import SharedPack
import TreeStore

/// Asks a question about a stored document and without one, to the first token.
///
/// The document's chunks have tokens of their own and share the rows of one chunk that was encoded: as much is stored,
/// read and attended to as of a real one.
final class QuestionBenchmark {
  private let model: LanguageModel
  private let directory: String
  private let document: ContextDocument
  private let question: [Int32]

  /// Stores the document in a temporary directory.
  /// - Throws: `Refusal` of the encoder and the store.
  init(_ model: LanguageModel, chunkCount: Int, question: [Int32], tokens: (Int) -> [Int32]) throws(Refusal) {
    self.model = model
    self.question = question
    let directory = try Directory.temporary("bench")
    do throws(Refusal) {
      try Self.store(model, chunkCount: chunkCount, tokens: tokens, in: directory)
      document = try DocumentStore(opening: "\(directory)/store", model: model).document(named: "document")
    } catch {
      try? Directory.removeTree(directory)
      throw error
    }
    self.directory = directory
  }

  deinit { try? Directory.removeTree(directory) }

  private static func store(
    _ model: LanguageModel, chunkCount: Int, tokens: (Int) -> [Int32], in directory: String
  ) throws(Refusal) {
    let shape = try model.requireTrees(.int8).shape
    let encoder = try model.makeTreeEncoder(.int8)
    let text = tokens(shape.chunkSize + chunkCount)
    let first = try encoder.encode(Array(text.prefix(shape.chunkSize)))
    var writer = try TreeStoreWriter(
      opening: "\(directory)/store", creating: model.storeConfiguration(.int8))
    var keys: [ChunkKey] = []
    for chunk in 0..<chunkCount {
      let encoded = EncodedChunk(
        tokens: Array(text[chunk..<chunk + shape.chunkSize]), embeddings: first.embeddings, blocks: first.blocks)
      keys.append(try writer.add(encoded, compression: .none))
    }
    try writer.addDocument(
      name: "document", textDigest: Digest256(of: []), textByteCount: 0, tokenCount: chunkCount * shape.chunkSize,
      chunks: DocumentChunks(keys: keys), replacing: false)
    try writer.commit()
  }

  /// Seconds to the first token about the document, its trees' search included, and without it.
  /// - Parameter beginsWithout: which of the two comes first. Runs alternate, as the speed of a machine drifts.
  /// - Throws: `Refusal` when the store is damaged.
  func run(beginsWithout: Bool) throws(Refusal) -> (about: Double, without: Double) {
    if beginsWithout {
      let without = secondsWithout()
      return (try secondsAbout(), without)
    }
    return (try secondsAbout(), secondsWithout())
  }

  private func secondsAbout() throws(Refusal) -> Double {
    let start = ContinuousClock.now
    read(try model.select(from: [document], query: question))
    return (ContinuousClock.now - start).seconds
  }

  private func secondsWithout() -> Double {
    let start = ContinuousClock.now
    read(nil)
    return (ContinuousClock.now - start).seconds
  }

  private func read(_ selection: ContextSelection?) {
    let session = Session(
      model.runtime, capacity: question.count, context: selection?.context)
    _ = session.read(question)
  }
}
