internal import FileAccess

/// What a catalog has to say that it does not say, and what cannot be said any more.
struct SurveyedDocuments {
  /// Changes to what can be read of the catalog.
  var patch: [[UInt8]: CatalogValue] = [:]
  /// Chunks whose only whole records lie in segments that are replaced: numbers of the segment and of its entry.
  var moved: [ChunkKey: (segment: Int, entry: Int, tokenCount: Int)] = [:]
  var state = StoreState()
  var lost: Set<String> = []
  var incomplete: [IncompleteDocument] = []
  /// Documents whose place in the order of additions is another's.
  var unordered: [StoredDocument] = []
  /// Chunks that documents need and that are nowhere.
  var missing: Set<ChunkKey> = []
  var unreachableChunkCount = 0
  var unreachableByteCount = 0
}

// The catalog is worked out anew from what can be read of it and from the segments.
extension StoreSurvey {
  mutating func surveyCatalog() {
    surveyPlaces()
    surveyDocuments()
    surveyOrders()
    surveyLists()
    surveyMembers()
    surveyTexts()
    surveyFound()
    surveyState()
    for name in documents.lost.sorted(by: StoredDocument.nameOrder) {
      add(
        .document,
        Refusal(
          .lostDocument, file: path, structure: "document \"\(name)\"", "what the store knew about it is lost"))
    }
    for document in documents.incomplete {
      add(
        .document,
        Refusal(
          .incompleteDocument, file: path, structure: "document \"\(document.name)\"",
          "\(document.missingCount) of its \(document.chunkCount) chunks are missing"))
    }
    for number in faults.indices {
      guard let chunk = faults[number].chunk else { continue }
      faults[number].documents = holders(of: chunk)
    }
  }

  /// What the catalog will say about a key.
  func value(of key: [UInt8]) -> [UInt8]? {
    if let change = documents.patch[key] { return change.bytes }
    return catalog.value(of: key)
  }

  private mutating func set(_ key: [UInt8], _ value: [UInt8]?) {
    documents.patch[key] = value.map { .value($0) } ?? .removed
  }

  private mutating func contradiction(_ structure: String, _ fault: String) {
    // What is missing behind a damaged page is no fault of its own.
    guard !isCatalogDamaged else { return }
    add(.catalog, Refusal(.malformedTable, file: path, structure: structure, fault))
  }

  /// Documents that have a chunk, some of them when there are very many.
  private func holders(of chunk: ChunkKey) -> [String] {
    var scan = catalog.scan(prefix: CatalogKey.members(of: chunk))
    var names: [String] = []
    while names.count < 100, let (key, _) = scan.next() {
      if let name = String(validating: key.dropFirst(33), as: UTF8.self) { names.append(name) }
    }
    return names
  }

  // MARK: Places

  /// Sees that each chunk's place is a whole record.
  private mutating func surveyPlaces() {
    var places = catalog.scan(prefix: CatalogKey.chunks)
    var members = catalog.scan(prefix: CatalogKey.members)
    var merge = SegmentMerge(segments.map(\.segment))
    func nextPlace() -> (key: ChunkKey, value: [UInt8])? {
      while let (key, value) = places.next() {
        if let chunk = CatalogKey.chunkKey(in: key), key.count == 33 { return (chunk, value) }
      }
      return nil
    }
    var place = nextPlace()
    var member = members.next().flatMap { CatalogKey.chunkKey(in: $0.key) }
    var chunk = merge.next()
    var placelessCount = 0
    let frame = configuration.frameKey
    while place != nil || chunk != nil {
      if let (key, _) = place, chunk.map({ key < $0.key }) ?? true {
        set(CatalogKey.chunk(key), nil)
        faults.append(
          StoreFault(
            kind: .record,
            refusal: Refusal(.missingChunk, file: path, structure: "chunk \(key.short)", "is in no segment"), chunk: key
          ))
        place = nextPlace()
        continue
      }
      guard let (key, candidates) = chunk else { break }
      while let needed = member, needed < key {
        member = members.next().flatMap { CatalogKey.chunkKey(in: $0.key) }
      }
      var current: [UInt8]?
      if let (placed, value) = place, placed == key {
        current = value
        place = nextPlace()
      }
      let isNeeded = member == key || key == frame
      if surveyPlace(key, candidates, current: current, isNeeded: isNeeded) { placelessCount += 1 }
      chunk = merge.next()
    }
    if placelessCount > 0 {
      contradiction("places of chunks", "\(placelessCount) chunks of segments have none")
    }
  }

  /// - Returns: whether the catalog does not know a chunk that can be read.
  private mutating func surveyPlace(
    _ key: ChunkKey, _ candidates: [(segment: Int, entry: Int)], current: [UInt8]?, isNeeded: Bool
  ) -> Bool {
    let whole = candidates.filter { !segments[$0.segment].damaged.contains($0.entry) }
    func encoded(_ candidate: (segment: Int, entry: Int)) -> [UInt8] {
      let entry = segments[candidate.segment].segment.index.entry(at: candidate.entry)
      return ChunkPlace(
        segment: segments[candidate.segment].reference.digest.tag, entry: candidate.entry,
        tokenCount: entry.tokenCount, byteCount: entry.byteCount
      ).encoded
    }
    // The record that the catalog leads to, if it stays; or another that stays; or one that is written anew.
    let staying = whole.filter { !segments[$0.segment].isReplaced }
    let chosen =
      staying.first { encoded($0) == current } ?? staying.first ?? whole.first { encoded($0) == current } ?? whole.first
    // A damaged record that a document needs is no garbage.
    for candidate in isNeeded ? whole.filter({ $0 != chosen ?? $0 }) : candidates {
      let byteCount = segments[candidate.segment].segment.index.entry(at: candidate.entry).byteCount
      documents.unreachableChunkCount += 1
      documents.unreachableByteCount = CheckedSize.sum(documents.unreachableByteCount, byteCount) ?? .max
    }
    guard let chosen else {
      if current != nil { set(CatalogKey.chunk(key), nil) }
      return false
    }
    let isMoved = segments[chosen.segment].isReplaced
    if isMoved {
      let tokenCount = segments[chosen.segment].segment.index.entry(at: chosen.entry).tokenCount
      documents.moved[key] = (chosen.segment, chosen.entry, tokenCount)
    } else if encoded(chosen) != current {
      set(CatalogKey.chunk(key), encoded(chosen))
      let isElsewhere = whole.contains { encoded($0) == current }
      if current != nil, !isElsewhere, candidates.count == whole.count {
        contradiction("chunk \(key.short)", "is not where the catalog says")
      }
    }
    return current == nil && segments[chosen.segment].isNamed
  }

  /// Of a chunk that can be read; nil for others.
  func tokenCount(of key: ChunkKey) -> Int? {
    if let moved = documents.moved[key] { return moved.tokenCount }
    guard let value = value(of: CatalogKey.chunk(key)) else { return nil }
    return try? ChunkPlace(value, file: path).tokenCount
  }

  // MARK: Documents

  private mutating func surveyDocuments() {
    var listless: [StoredDocument] = []
    var scan = catalog.scan(prefix: CatalogKey.documents)
    while let (key, value) = scan.next() {
      do throws(Refusal) {
        let document = try StoredDocument(key: key, value: value, file: path)
        if let chunks = chunks(of: document) { keep(document, chunks) } else { listless.append(document) }
      } catch {
        contradiction("document", error.fault)
        set(key, nil)
        if let name = String(validating: key.dropFirst(), as: UTF8.self) { documents.lost.insert(name) }
      }
    }
    guard !listless.isEmpty else { return }
    let known = chunksOfMembers(Set(listless.map(\.name)))
    for document in listless {
      if let chunks = rebuilt(document, known[document.name] ?? [:]) {
        for part in 0..<DocumentChunks.partCount(document.chunkCount) {
          set(CatalogKey.list(document.name, part: part), chunks.encoded(part: part))
        }
        keep(document, chunks)
      } else {
        contradiction("document \"\(document.name)\"", "the list of its chunks is missing or malformed")
        set(CatalogKey.document(document.name), nil)
        documents.lost.insert(document.name)
      }
    }
  }

  /// The chunks of a document; nil unless the whole list can be read.
  func chunks(of document: StoredDocument) -> DocumentChunks? {
    guard document.chunkCount <= 1 << 32 else { return nil }
    var chunks = DocumentChunks(keys: [])
    for part in 0..<DocumentChunks.partCount(document.chunkCount) {
      let count = min(DocumentChunks.partLength, document.chunkCount - part * DocumentChunks.partLength)
      guard let value = value(of: CatalogKey.list(document.name, part: part)), chunks.append(value, chunkCount: count)
      else { return nil }
    }
    let isRight = chunks.textByteCounts.isEmpty || chunks.textByteCounts.reduce(0, +) == document.textByteCount
    return isRight ? chunks : nil
  }

  /// The chunks of documents by their numbers, as far as the chunks' documents tell.
  private func chunksOfMembers(_ names: Set<String>) -> [String: [Int: ChunkKey]] {
    var known: [String: [Int: ChunkKey]] = [:]
    var scan = catalog.scan(prefix: CatalogKey.members)
    while let (key, value) = scan.next() {
      guard let (chunk, name, number) = Self.member(key, value), names.contains(name) else { continue }
      known[name, default: [:]][number] = chunk
    }
    return known
  }

  private static func member(_ key: [UInt8], _ value: [UInt8]) -> (chunk: ChunkKey, name: String, number: Int)? {
    guard let chunk = CatalogKey.chunkKey(in: key), let name = String(validating: key.dropFirst(33), as: UTF8.self),
      value.count == 4
    else { return nil }
    return (chunk, name, value.reversed().reduce(0) { $0 << 8 | Int($1) })
  }

  /// The list of a document's chunks from its readable parts and from what is known otherwise; nil with a gap.
  private func rebuilt(_ document: StoredDocument, _ known: [Int: ChunkKey]) -> DocumentChunks? {
    var keys: [ChunkKey] = []
    // A gap ends it, so that a length without meaning costs nothing.
    while keys.count < document.chunkCount {
      let part = keys.count / DocumentChunks.partLength
      let count = min(DocumentChunks.partLength, document.chunkCount - part * DocumentChunks.partLength)
      var chunks = DocumentChunks(keys: [])
      if let value = value(of: CatalogKey.list(document.name, part: part)), chunks.append(value, chunkCount: count) {
        keys += chunks.keys
        continue
      }
      for number in keys.count..<keys.count + count {
        guard let key = known[number] else { return nil }
        keys.append(key)
      }
    }
    return DocumentChunks(keys: keys)
  }

  /// Sees that all else fits a document and the list of its chunks.
  private mutating func keep(_ document: StoredDocument, _ chunks: DocumentChunks) {
    let structure = "document \"\(document.name)\""
    var tokenCount = 0
    var missingCount = 0
    var firsts: Set<ChunkKey> = []
    for (number, key) in chunks.keys.enumerated() {
      if let count = self.tokenCount(of: key) {
        tokenCount = CheckedSize.sum(tokenCount, count) ?? .max
      } else {
        missingCount += 1
        documents.missing.insert(key)
      }
      guard firsts.insert(key).inserted else { continue }
      var writer = ByteWriter()
      writer.integer(UInt32(number))
      let member = CatalogKey.member(key, document.name)
      if value(of: member) != writer.bytes {
        contradiction(structure, "the catalog does not name it as one of chunk \(number)")
        set(member, writer.bytes)
      }
    }
    if let frame = configuration.frameKey, !chunks.keys.isEmpty, self.tokenCount(of: frame) == nil {
      documents.missing.insert(frame)
      missingCount += 1
    }
    if missingCount > 0 {
      documents.incomplete.append(
        IncompleteDocument(name: document.name, missingCount: missingCount, chunkCount: chunks.keys.count))
    }
    var fixed = document
    let frameTokenCount = configuration.chunkTokenCount(text: 0)
    if missingCount == 0, tokenCount != configuration.chunkTokenCount(text: document.tokenCount) {
      contradiction(structure, "has \(document.tokenCount) tokens and chunks of \(tokenCount)")
      fixed = fixed.with(tokenCount: max(tokenCount - frameTokenCount, 0), order: document.order)
    }
    let order = CatalogKey.order(document.order)
    let name = Array(document.name.utf8)
    if value(of: order) != name {
      contradiction(structure, "has no place in the order of documents")
      if let other = value(of: order), isDocument(other, at: document.order) {
        // Behind all others; which these are is known at the end.
        documents.unordered.append(fixed)
      } else {
        set(order, name)
      }
    }
    if document.keepsText, text(of: document) == nil {
      add(
        .document,
        Refusal(.lostText, file: path, structure: structure, "the text that is kept is not the one that was stored"))
      fixed = fixed.with(tokenCount: fixed.tokenCount, order: fixed.order, keepsText: false)
    }
    if fixed != document { set(CatalogKey.document(document.name), fixed.encoded) }
    documents.state.nextOrder = max(documents.state.nextOrder, CheckedSize.sum(document.order, 1) ?? .max)
    documents.state.documentCount += 1
    documents.state.chunkCount += document.chunkCount
    documents.state.tokenCount = CheckedSize.sum(documents.state.tokenCount, fixed.tokenCount) ?? .max
  }

  /// The text of a document where all of it is kept.
  func text(of document: StoredDocument) -> [UInt8]? {
    try? KeptText.read(of: document, store: path) { value(of: $0) }
  }

  func document(_ name: [UInt8]) -> StoredDocument? {
    let key = CatalogKey.documents + name
    guard let value = value(of: key) else { return nil }
    return try? StoredDocument(key: key, value: value, file: path)
  }

  private func isDocument(_ name: [UInt8], at order: Int) -> Bool { document(name)?.order == order }

  // MARK: What stands alone

  /// Notes a document of which only traces are left.
  private mutating func addTrace(_ name: [UInt8]) {
    guard isCatalogDamaged, document(name) == nil, let name = String(validating: name, as: UTF8.self) else { return }
    documents.lost.insert(name)
  }

  private mutating func surveyOrders() {
    var scan = catalog.scan(prefix: CatalogKey.orders)
    while let (key, name) = scan.next() {
      guard documents.patch[key] == nil else { continue }
      let order = key.dropFirst().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      if key.count == 9, let order = Int(exactly: order), isDocument(name, at: order) { continue }
      contradiction("order", "leads to a document that is not there")
      addTrace(name)
      set(key, nil)
    }
    for document in documents.unordered {
      let order = documents.state.nextOrder
      documents.state.nextOrder = CheckedSize.sum(order, 1) ?? .max
      set(CatalogKey.order(order), Array(document.name.utf8))
      set(
        CatalogKey.document(document.name), document.with(tokenCount: document.tokenCount, order: order).encoded)
    }
  }

  private mutating func surveyLists() {
    surveyParts(of: CatalogKey.lists, "list of chunks") { DocumentChunks.partCount($0.chunkCount) }
  }

  private mutating func surveyTexts() {
    surveyParts(of: CatalogKey.texts, "text that is kept") {
      $0.keepsText ? KeptText.partCount($0.textByteCount) : 0
    }
  }

  /// Removes parts that no document has.
  private mutating func surveyParts(
    of kind: [UInt8], _ structure: String, partCount: (StoredDocument) -> Int
  ) {
    var scan = catalog.scan(prefix: kind)
    while let (key, _) = scan.next() {
      let end = key.count - 5
      let name = end > 1 ? Array(key[1..<end]) : []
      let part = key.suffix(4).reduce(0) { $0 << 8 | Int($1) }
      if end > 1, key[end] == 0, let document = document(name), part < partCount(document) { continue }
      contradiction(structure, "is of no document")
      addTrace(name)
      set(key, nil)
    }
  }

  private mutating func surveyMembers() {
    var scan = catalog.scan(prefix: CatalogKey.members)
    while let (key, value) = scan.next() {
      guard documents.patch[key] == nil else { continue }
      if let (chunk, name, number) = Self.member(key, value), let document = document(Array(name.utf8)),
        number < document.chunkCount
      {
        let part = number / DocumentChunks.partLength
        let count = min(DocumentChunks.partLength, document.chunkCount - part * DocumentChunks.partLength)
        var chunks = DocumentChunks(keys: [])
        if let list = self.value(of: CatalogKey.list(name, part: part)), chunks.append(list, chunkCount: count),
          chunks.keys[number % DocumentChunks.partLength] == chunk
        {
          continue
        }
      }
      contradiction("documents of chunks", "name a document that has not the chunk")
      addTrace(Array(key.dropFirst(33)))
      set(key, nil)
    }
  }

  /// Segments that a writer took in and that stayed until now.
  private mutating func surveyFound() {
    var scan = catalog.scan(prefix: CatalogKey.foundSegments)
    while let (key, _) = scan.next() {
      set(key, nil)
      guard let tag = CatalogKey.tag(in: key), let found = segments.first(where: { $0.reference.digest.tag == tag })
      else { continue }
      addUnknown(
        found.segment.path,
        "a segment of \(found.segment.index.count) chunks that no generation named until a writer found it")
    }
  }

  private mutating func surveyState() {
    let value = catalog.value(of: StoreState.key)
    let stored = value.flatMap { try? StoreState($0, file: path) }
    documents.state.nextOrder = max(documents.state.nextOrder, stored?.nextOrder ?? 0)
    documents.state.byteLimit = stored?.byteLimit ?? 0
    guard documents.state != stored ?? StoreState() else { return }
    contradiction("state", "the sums are not those of the documents")
    set(StoreState.key, documents.state.encoded)
  }
}

extension StoredDocument {
  fileprivate func with(tokenCount: Int, order: Int, keepsText: Bool? = nil) -> StoredDocument {
    StoredDocument(
      name: name, textDigest: textDigest, textByteCount: textByteCount, tokenCount: tokenCount,
      chunkCount: chunkCount, order: order, isPinned: isPinned, keepsText: keepsText ?? self.keepsText,
      metadata: metadata)
  }
}
