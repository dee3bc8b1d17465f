import ContextTrees
import LlamaRuntime
import NodeBlocks
import Synchronization
import TreeStore

/// A chunk that was encoded before its document is added.
enum EncodedAhead {
  case tree(EncodedChunk)
  case text(TextRows)
}

/// Encodes chunks of short texts, one on each thread: what a chunk of twenty tokens takes is too little to be shared by
/// threads. The weights are the model's own, and results are the same.
final class EncodingLanes {
  private let pool: ThreadPool
  private let models: [LanguageModel]
  /// For trees.
  private let encoders: [TreeEncoder]

  /// - Returns: nil where there is one thread only, or weights are read again for every pass.
  init?(_ model: LanguageModel, encoding: RowEncoding?) {
    pool = model.runtime.threads
    guard pool.threadCount > 1, model.fitsInMemory else { return nil }
    let models = (0..<pool.threadCount).map { _ in LanguageModel(model, threads: ThreadPool(threadCount: 1)) }
    self.models = models
    encoders = encoding.map { form in models.compactMap { TreeEncoder($0.runtime, encoding: form) } } ?? []
    guard encoding == nil || encoders.count == models.count else { return nil }
  }

  /// What threads have in common while they encode.
  private final class Progress: Sendable {
    let isCancelled = Atomic<Bool>(false)
    let made = Mutex<[ChunkKey: EncodedAhead]>([:])
  }

  /// Encodes chunks, in any order. What cannot be encoded, and what is left when the task is cancelled, is left out.
  /// - Parameter frame: for texts, what they are read behind and how they are kept.
  func encode(_ chunks: [(key: ChunkKey, tokens: [Int32])], frame: (rows: TextPrefix, form: TextForm)?)
    -> [ChunkKey: EncodedAhead]
  {
    let progress = Progress()
    pool.run(count: chunks.count, with: progress) { [models, encoders] progress, thread, range in
      for (key, tokens) in chunks[range] {
        // Known to the caller's thread only, which takes part.
        if Task.isCancelled { progress.isCancelled.store(true, ordering: .relaxed) }
        if progress.isCancelled.load(ordering: .relaxed) { return }
        let made: EncodedAhead? =
          if let frame {
            (try? models[thread].keptRows(of: tokens, behind: frame.rows, frame.form)).map { .text($0) }
          } else {
            (try? encoders[thread].encode(tokens)).map { .tree($0) }
          }
        if let made { progress.made.withLock { $0[key] = made } }
      }
    }
    return progress.made.withLock { $0 }
  }
}

extension StoreBuilder {
  /// Texts of at most so many bytes are encoded several at once.
  static var shortByteCount: Int { 4096 }

  /// Encodes chunks of short texts that the store does not have, several at once, so that `add(_:)` finds them made.
  /// What is wrong with a text is left for that.
  mutating func encodeAhead(_ documents: [DocumentText]) throws(Refusal) {
    ready = [:]
    guard documents.count > 1 else { return }
    var form: TextForm?
    switch work {
    case .trees(_, let encoder, _):
      if lanes == nil { lanes = EncodingLanes(model, encoding: encoder.layout.encoding) }
    case .texts(let texts):
      guard texts.manner == .deep else { return }
      form = texts
      if lanes == nil { lanes = EncodingLanes(model, encoding: nil) }
    }
    guard let lanes else { return }
    var chunks: [(key: ChunkKey, tokens: [Int32])] = []
    var keys: Set<ChunkKey> = []
    for document in documents where (try? writer.document(named: document.name)) == .some(nil) {
      guard let tokens = try? model.documentTokens(document.text, file: document.place) else { continue }
      let ranges =
        switch work {
        case .trees(let shape, _, let borders): model.chunks(of: tokens, shape: shape, borders: borders)
        case .texts(let form): model.textChunks(of: tokens, reading: DeepReading(chunkSize: form.chunkSize))
        }
      for range in ranges {
        let chunk = Array(tokens[range])
        let key = writer.configuration.chunkKey(tokens: chunk, behind: writer.configuration.frameKey)
        if !writer.contains(key), keys.insert(key).inserted { chunks.append((key, chunk)) }
      }
    }
    guard chunks.count > 1 else { return }
    var frame: (rows: TextPrefix, form: TextForm)?
    if let form { frame = (try requireFrameRows(form), form) }
    ready = lanes.encode(chunks, frame: frame)
  }
}
