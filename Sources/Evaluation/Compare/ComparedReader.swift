import ContextTrees
import FileAccess
import LlamaRuntime
import ModelPacks
import NodeBlocks
import SharedPack
import TreeStore

/// A text with what follows it, in the forms in which the compared methods read it.
struct ComparedPrompt {
  /// What stands before the text: a begin-of-text token, or words around a document.
  var start: [Int32] = []
  var text: [Int32]
  /// Tokens behind the text that every method reads itself: a question, or the text's own last ones.
  var question: [Int32]
  /// The same as they are read where the text is not in the prompt.
  var alone: [Int32]
  /// What chunks are searched for.
  var words: String

  var tokens: [Int32] { start + text + question }
}

/// A text that was read by one of the compared methods.
struct ComparedText {
  let session: Session
  /// What the model expects next: (vocabulary).
  var logits: [Float]
  /// Tokens that went through layers for it.
  var readCount: Int
  var seconds: Double
  /// Bytes of the keys and values that the next token attends to.
  var viewBytes: Double
  /// Bytes of all keys and values that are kept of the text, in memory or in a store.
  var keptBytes: Double
  /// Bytes of what they are found by.
  var indexBytes = 0.0

  /// Reads more, as one prompt.
  mutating func read(_ tokens: [Int32]) throws(Refusal) {
    logits = session.read(tokens)
    try session.requireWhole()
  }

  /// The tokens of the greedy continuation, until the model ends its text.
  mutating func answer(_ model: LanguageModel, atMost count: Int) throws(Refusal) -> [Int32] {
    var answer: [Int32] = []
    while answer.count < count, let best = logits.indices.max(by: { logits[$0] < logits[$1] }) {
      guard !model.configuration.endOfTextTokens.contains(Int32(best)) else { break }
      answer.append(Int32(best))
      if answer.count < count { session.read(Int32(best), into: &logits) }
    }
    try session.requireWhole()
    return answer
  }
}

/// Reads texts by one method, with as many bytes of keys and values as every method has.
struct ComparedReader {
  let method: ComparedMethod
  /// With positions that are scaled where the method does so.
  let model: LanguageModel
  /// Bytes of the keys and values that stay of a text.
  let byteCount: Int
  private let sizes: RowSizes
  /// Of deep reading; nil for other methods.
  private let deep: (form: TextForm, reading: DeepReading, opening: TextRows)?
  /// The text whose trees are there: several questions are asked about one.
  private var encoded: (text: [Int32], document: ContextDocument)?

  /// - Parameters:
  ///   - windows: the length of the texts, which positions are scaled for.
  ///   - byteCount: of keys and values that stay of a text.
  /// - Throws: `Refusal` `no-injection` for trees of a plain model, `unfit-positions`, `row-limit` where there are too few
  ///   bytes for a policy.
  init(_ method: ComparedMethod, _ model: LanguageModel, windows: Int, byteCount: Int) throws(Refusal) {
    self.method = method
    self.byteCount = byteCount
    switch method.way {
    case .positions(let rule):
      guard windows > 1 else {
        throw Refusal(.unfitPositions, file: model.pack.path, "the window holds the text: as full")
      }
      // The dynamic rule looks at the length itself; its factor is the usual one.
      let positions = PositionScaling(rule, factor: rule == .dynamicNTK ? 2 : Double(windows))
      if let fault = positions.fault(of: model.pack.configuration) {
        throw Refusal(.unfitPositions, file: model.pack.path, fault)
      }
      self.model = try LanguageModel(LlamaModel(model.pack, positions: positions, threads: model.runtime.threads))
      deep = nil
      sizes = RowSizes(self.model, deep: nil)
    case .deep:
      self.model = model
      let reading = model.reading
      let form = try model.textForm(reading, frame: model.readingFrame())
      sizes = RowSizes(model, deep: form.layout)
      deep = (form, reading, try model.keptOpening(form))
    case .policy(let name):
      self.model = model
      deep = nil
      sizes = RowSizes(model, deep: nil)
      let rows = RowSizes.rows(inBytes: byteCount, name, model)
      guard rows >= CachePolicy.leastRows else {
        throw Refusal(.rowLimit, file: model.pack.path, "there are bytes for \(rows) rows, which are too few")
      }
    case .truncated, .trees:
      self.model = model
      deep = nil
      sizes = RowSizes(model, deep: nil)
    }
    if case .trees = method.way { _ = try model.requireTrees(.int8) }
  }

  /// Rows of a head that there are bytes for, where the model keeps them as its own.
  var rows: Int { Int(Double(byteCount) / sizes.own) }

  /// Whether a question is what decides which parts of a stored text are read.
  var searches: Bool {
    switch method.way {
    case .trees, .deep: true
    case .policy, .positions, .truncated: false
    }
  }

  /// Whether what a token sees depends on those that are read with it, so that those to be scored are read one at a time.
  var dependsOnSlices: Bool {
    guard case .policy(let name) = method.way else { return false }
    return !cachePolicy(name).readsInAnySlices
  }

  /// What decides how the method reads, in words.
  var setting: String {
    switch method.way {
    // Without the name, which has a column.
    case .policy(let name): String("\(cachePolicy(name))".drop { $0 != "(" }.dropFirst().dropLast())
    case .positions: model.runtime.positions?.numerics(of: model.pack.configuration) ?? ""
    case .truncated: "\(rows) tokens"
    case .trees(let ofEncoder): "\(treeRows) rows of \(ofEncoder ? "states" : "trees")"
    case .deep: deep.map { "chunks of \($0.reading.chunkSize), \($0.form.layout.encoding)" } ?? ""
    }
  }

  private var treeRows: Int { Int(Double(byteCount) / sizes.tree) }

  private func cachePolicy(_ name: CachePolicy.Name) -> CachePolicy {
    CachePolicy(name, rows: RowSizes.rows(inBytes: byteCount, name, model))
  }

  /// Reads a text and what follows it.
  /// - Parameter room: tokens that will be read behind it.
  /// - Throws: `Refusal` `needs-more-memory`, `row-limit`, `not-finite`, and those of reading.
  mutating func read(_ prompt: ComparedPrompt, room: Int) throws(Refusal) -> ComparedText {
    switch method.way {
    case .policy(let name):
      let tokens = prompt.tokens
      var text = try read(tokens, room: room, cachePolicy(name), rowSize: sizes.own)
      // The bytes of what the policy says, without the room that the cache has for rows to come.
      let rows = min(RowSizes.rows(inBytes: byteCount, name, model), tokens.count)
      let seen = Double(model.cacheByteCount(rows: rows, name, encoding: RowSizes.encoding(model)))
      switch cachePolicy(name) {
      case .full: break
      case .streaming, .lmInfinite: (text.viewBytes, text.keptBytes) = (seen, seen)
      case .infLLM(let initial, let recent, let block, _, _):
        (text.viewBytes, text.keptBytes) = (seen, Double(text.session.rowByteCount))
        let shape = model.configuration
        let blocks = max(tokens.count - recent - initial, 0) / block
        let floatByteCount = RowSizes.encoding(model) == .float32 ? 4 : 2
        text.indexBytes = Double(blocks * shape.layerCount * shape.kvHeadCount * shape.headDim * floatByteCount)
      case .h2o, .snapKV, .pyramidKV, .tova, .fastGen:
        text.keptBytes = Double(text.session.rowByteCount)
        text.viewBytes = text.keptBytes
      }
      return text
    case .positions: return try read(prompt.tokens, room: room, .full, rowSize: sizes.own)
    case .truncated: return try read(Array(prompt.tokens.suffix(rows)), room: room, .full, rowSize: sizes.own)
    case .trees: return try readTrees(prompt, room: room)
    case .deep: return try readChunks(prompt, room: room)
    }
  }

  /// - Parameter rowSize: bytes of a row that stays.
  private func read(
    _ tokens: [Int32], room: Int, _ policy: CachePolicy, rowSize: Double
  ) throws(Refusal) -> ComparedText {
    let needed = model.runtime.sessionByteCount(
      capacity: tokens.count + room, cachePolicy: policy, batchTokens: min(tokens.count + room, 256))
    if let available = AvailableMemory.byteCount(), needed > available {
      throw Refusal(
        .needsMoreMemory, file: model.pack.path,
        "its keys and values take \(needed / 1_000_000 + 1) MB, of which \(available / 1_000_000) are available")
    }
    let start = ContinuousClock.now
    let session = try model.makeSession(
      capacity: tokens.count + room, cachePolicy: policy, rowEncoding: RowSizes.encoding(model))
    let logits = session.read(tokens)
    try session.requireWhole()
    let bytes = Double(tokens.count) * rowSize
    return ComparedText(
      session: session, logits: logits, readCount: tokens.count, seconds: (ContinuousClock.now - start).seconds,
      viewBytes: bytes, keptBytes: bytes)
  }

  private mutating func readTrees(_ prompt: ComparedPrompt, room: Int) throws(Refusal) -> ComparedText {
    let start = ContinuousClock.now
    var selection: ContextSelection?
    var readCount = prompt.alone.count
    if !prompt.text.isEmpty {
      let isNew = encoded?.text != prompt.text
      if isNew {
        encoded = nil
        encoded = (prompt.text, try model.encode(prompt.text, named: "text"))
        readCount += prompt.text.count
      }
      if let document = encoded?.document {
        selection = try select(from: document, prompt.alone)
      }
    }
    let session = Session(model.runtime, capacity: prompt.alone.count + room, context: selection?.context)
    let logits = session.read(prompt.alone)
    try session.requireWhole()
    let own = Double(prompt.alone.count) * sizes.own
    let layout = try model.requireTrees(.int8).layout
    let nodes = selection == nil ? [] : encoded?.document.chunks.flatMap(\.tree.nodes) ?? []
    return ComparedText(
      session: session, logits: logits, readCount: readCount, seconds: (ContinuousClock.now - start).seconds,
      viewBytes: own + Double(selection?.context?.byteCount ?? 0),
      keptBytes: own + Double(nodes.reduce(0) { $0 + layout.byteCount(rows: $1.rowCount) }),
      // A node is found by its embedding, in floats.
      indexBytes: Double(nodes.count * model.runtime.nodeEmbeddingSize * 4))
  }

  /// The nodes that there are bytes for beside a question's own rows, which are of all layers.
  private func select(from document: ContextDocument, _ question: [Int32]) throws(Refusal) -> ContextSelection {
    let left = Double(byteCount) - Double(question.count) * sizes.own
    var limit = Int(left / sizes.tree)
    while limit > 0 {
      let search = TreeSearch(.cosine, expansion: .bestFirst, rowLimit: limit)
      let selection = try model.select(from: [document], search: search, query: question)
      let bytes = Double(selection.context?.byteCount ?? 0)
      if bytes <= left { return selection }
      // Nodes of few rows take more bytes for each.
      limit = min(limit - 1, Int(Double(limit) * left / bytes))
    }
    throw Refusal(
      .rowLimit, file: model.pack.path,
      "behind a question of \(question.count) tokens there are no bytes for nodes of trees")
  }

  private func readChunks(_ prompt: ComparedPrompt, room: Int) throws(Refusal) -> ComparedText {
    guard let deep else { preconditionFailure("a reader of chunks has their form") }
    let (form, opening) = (deep.form, deep.opening)
    var reading = deep.reading
    let own = Double(prompt.question.count) * sizes.own
    let rowLimit = Int((Double(byteCount) - own) / sizes.deep) - opening.rowCount
    guard rowLimit >= reading.chunkSize else {
      throw Refusal(
        .rowLimit, file: model.pack.path,
        "behind a question of \(prompt.question.count) tokens there are no bytes for a chunk of \(reading.chunkSize)")
    }
    reading.rowLimit = rowLimit
    reading.chunkCount = rowLimit / reading.chunkSize
    let start = ContinuousClock.now
    let document = try model.textDocument(prompt.text, named: "text", reading: reading)
    let passages = try model.passages(of: [document], for: prompt.words, reading: reading)
    let rows = try model.rows(of: passages, of: [document], form)
    let selection = try model.place(rows, behind: opening, repair: reading.repair)
    guard case .text(let prefix) = selection.rows else { preconditionFailure("texts have rows of texts") }
    let session = Session(model.runtime, behind: prefix, capacity: prompt.question.count + room)
    let logits = session.read(prompt.question)
    try session.requireWhole()
    let seconds = (ContinuousClock.now - start).seconds
    let tokenizer = try model.requireTokenizer()
    let words = document.chunks.reduce(0) { $0 + WordCounts(of: tokenizer.decode($1.tokens)).hashes.count }
    return ComparedText(
      session: session, logits: logits, readCount: rows.reduce(prompt.question.count) { $0 + $1.tokens.count },
      seconds: seconds, viewBytes: own + Double(selection.rowCount) * sizes.deep,
      keptBytes: own + Double(document.tokenCount + opening.rowCount) * sizes.deep, indexBytes: Double(words * 8))
  }
}

extension InjectedContext {
  /// Bytes of all nodes.
  fileprivate var byteCount: Int { chunks.reduce(0) { $0 + $1.reduce(0) { $0 + $1.byteCount } } }
}
