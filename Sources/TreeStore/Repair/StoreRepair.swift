package import FileAccess

/// A chunk whose tokens are known and whose rows are lost.
package struct ReadableTokens: Sendable, Hashable {
  package let key: ChunkKey
  package let tokens: [Int32]
  /// The chunk that was in view while it was read.
  package let behind: ChunkKey?
}

/// What a repair did, or would do.
package struct RepairReport: Sendable {
  /// A step of a repair.
  package struct Action: Sendable, Hashable {
    package enum Kind: String, Sendable {
      /// A generation gets its manifest.
      case takeUp = "take-up"
      /// A file becomes part of the store.
      case adopt
      /// What can be read of a file is written anew.
      case rewrite
      /// A file is moved away.
      case quarantine
      /// The catalog is corrected, or written anew.
      case catalog
      /// Permissions are narrowed.
      case mode
    }

    package let kind: Kind
    package let file: String
    package let what: String
  }

  /// In the order in which they are done.
  package var actions: [Action] = []
  /// The generation that is there then.
  package var generation: Int
  package let configuration: TreeStoreConfiguration
  package let lostDocuments: [String]
  package let incompleteDocuments: [IncompleteDocument]
  /// Chunks that documents need and that are nowhere.
  package let missingChunkCount: Int
  /// Those of them that can be encoded again without their text.
  package let readableTokens: [ReadableTokens]

  fileprivate init(_ survey: StoreSurvey) {
    generation = survey.manifest?.generation ?? 0
    configuration = survey.configuration
    lostDocuments = survey.documents.lost.sorted(by: StoredDocument.nameOrder)
    incompleteDocuments = survey.documents.incomplete
    missingChunkCount = survey.documents.missing.count
    readableTokens = survey.readableTokens()
  }
}

/// Makes a damaged store a good one, of what is left. Nothing is deleted: what does not belong goes into `quarantine`.
///
/// It may be stopped anywhere and done again.
/// Format: `Formats/tree-store.md`, recovery.
package enum StoreRepair {
  /// Looks at everything, and writes nothing.
  /// - Throws: `Refusal` `missing-file`, `not-a-store` and others of a directory that has nothing of a store.
  package static func examine(
    _ path: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> StoreExamination {
    var survey = try StoreSurvey(path, progress: progress)
    // What a writer removes meanwhile is not at fault.
    for _ in 0..<3 where try StoreFormat.generations(in: path).last ?? 0 > survey.publishedGeneration ?? 0 {
      guard survey.publishedGeneration != nil, survey.lastGeneration == survey.publishedGeneration else { break }
      survey = try StoreSurvey(path, progress: progress)
    }
    let documents = survey.documents
    return StoreExamination(
      path: path, generation: survey.publishedGeneration,
      configuration: survey.configuration, faults: survey.faults, documentCount: documents.state.documentCount,
      lostDocuments: documents.lost.sorted(by: StoredDocument.nameOrder),
      incompleteDocuments: documents.incomplete, missingChunkCount: documents.missing.count,
      unreachableChunkCount: documents.unreachableChunkCount,
      unreachableByteCount: documents.unreachableByteCount, quarantinedFileCount: survey.quarantinedFileCount,
      isBeingWritten: survey.isBeingWritten)
  }

  /// What a repair would do. Writes nothing.
  package static func plan(
    _ path: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> RepairReport {
    let survey = try StoreSurvey(path, progress: progress)
    var report = RepairReport(survey)
    report.actions = survey.actions
    return report
  }

  /// Repairs a store.
  /// - Throws: `Refusal` `busy` when another process writes, `no-space`, `input-output`, `permission-denied`, also of a
  ///   file that cannot be opened; then nothing is lost, and it can be done again.
  package static func repair(
    _ path: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> RepairReport {
    // What has nothing of a store gets no lock file.
    try StoreSurvey.requireRemains(path)
    let lock = try FileLock(exclusive: "\(path)/\(StoreFormat.lockName)")
    StoreCreation.removePartialFiles(path)
    let survey = try StoreSurvey(path, isLocked: true, progress: progress)
    if let fault = survey.openingFault { throw fault }
    var report = RepairReport(survey)
    report.actions = survey.actions
    if !report.actions.isEmpty { report.generation = try survey.repair() }
    // Until here.
    _ = consume lock
    return report
  }
}

extension StoreSurvey {
  private var keptSegments: [SurveyedSegment] { segments.filter { !$0.isReplaced } }

  /// Whether all of the catalog is written anew.
  private var isCatalogRewritten: Bool { isCatalogDamaged || manifest == nil }

  /// Whether the store needs another generation.
  private var isChanged: Bool {
    guard let manifest, !isManifestDamaged, !isCatalogRewritten, documents.patch.isEmpty, documents.moved.isEmpty,
      lastGeneration == manifest.generation
    else { return true }
    return Set(keptSegments.map(\.reference.digest)) != Set(manifest.segments.map(\.digest))
      || tables.map(\.reference.digest) != manifest.tables.map(\.digest)
  }

  var actions: [RepairReport.Action] {
    typealias Action = RepairReport.Action
    var actions: [Action] = []
    if isUnfinished, let manifest {
      actions.append(
        Action(
          kind: .takeUp, file: "\(path)/\(StoreFormat.manifestName(manifest.generation))",
          what: "take up the unfinished generation \(manifest.generation)"))
    }
    for segment in segments {
      if segment.isReplaced {
        let count = documents.moved.values.count { segments[$0.segment].segment === segment.segment }
        actions.append(
          Action(kind: .rewrite, file: segment.segment.path, what: "write \(count) whole chunks of it anew"))
      } else if !segment.isNamed {
        actions.append(
          Action(kind: .adopt, file: segment.segment.path, what: "take in its \(segment.segment.index.count) chunks"))
      }
    }
    if isChanged {
      let what =
        isCatalogRewritten ? "write the catalog anew of what can be read" : "correct \(documents.patch.count) entries"
      actions.append(Action(kind: .catalog, file: path, what: what))
    }
    for file in strays { actions.append(Action(kind: .quarantine, file: file, what: "move into quarantine")) }
    for (file, mode) in modes {
      actions.append(Action(kind: .mode, file: file, what: "set mode \(String(mode, radix: 8))"))
    }
    return actions
  }

  /// Tokens of missing chunks, in records whose heads can be read, those in quarantine included.
  func readableTokens() -> [ReadableTokens] {
    var missing = documents.missing
    guard !missing.isEmpty else { return [] }
    var result: [ReadableTokens] = []
    var candidates = segments.map(\.segment)
    let quarantine = "\(path)/\(StoreFormat.quarantineName)"
    for name in (try? Directory.names(in: quarantine)) ?? [] where name.contains(StoreFormat.segmentSuffix) {
      guard let segment = Segment.remains(of: "\(quarantine)/\(name)", configuration) else { continue }
      candidates.append(segment)
    }
    for segment in candidates {
      for key in missing {
        guard let number = segment.index.index(of: key), let record = try? StoredRecord(in: segment, at: number) else {
          continue
        }
        result.append(ReadableTokens(key: key, tokens: record.tokens, behind: record.behind))
      }
      missing.subtract(result.map(\.key))
    }
    return result.sorted { $0.key < $1.key }
  }

  // MARK: Repairing

  /// Does what is to be done. The caller has the lock.
  /// - Returns: the newest generation.
  fileprivate func repair() throws(Refusal) -> Int {
    let directory = StoreDirectory(path)
    if isUnfinished, let manifest {
      try StoreCreation.synchronize(path)
      _ = try manifest.publish(in: directory)
    }
    for name in [StoreFormat.segmentsName, StoreFormat.catalogName] {
      try Directory.create("\(path)/\(name)", mode: directory.directoryMode)
    }
    // What is left by a process that was killed is built on.
    try StoreCreation.synchronize(path)
    // A second name first: so every byte has one, wherever this stops.
    let files = strays.filter { Directory.exists($0) == .file }
    if !files.isEmpty { try quarantine(files, directory) }
    var generation = manifest?.generation ?? 0
    if isChanged { generation = try publish(directory) }
    // In quarantine, too: it has the same text.
    for (file, mode) in modes { try Directory.setMode(of: file, mode) }
    guard !files.isEmpty else { return generation }
    for file in files { try Directory.removeFile(file) }
    try StoreCreation.synchronize(path)
    return generation
  }

  private func quarantine(_ files: [String], _ directory: StoreDirectory) throws(Refusal) {
    let quarantine = "\(path)/\(StoreFormat.quarantineName)"
    try Directory.create(quarantine, mode: directory.directoryMode)
    for file in files {
      var target = "\(quarantine)/\(Directory.split(file).name)"
      var number = 0
      while Directory.exists(target) != nil, FileStatus(target) != FileStatus(file) {
        number += 1
        target = "\(quarantine)/\(Directory.split(file).name).\(number)"
      }
      if Directory.exists(target) != nil { continue }
      do throws(Refusal) {
        try Directory.link(file, as: target)
      } catch {
        guard error.name == .notSupported || error.name == .permissionDenied else { throw error }
        let mapped = try MappedFile(file)
        var copy = try PublishedFile(creating: target, mode: directory.fileMode)
        try copy.append(mapped.bytes)
        try copy.publish()
      }
    }
    try Directory.synchronize(quarantine)
    try Directory.synchronize(path)
  }

  /// Makes the next generation.
  private func publish(_ directory: StoreDirectory) throws(Refusal) -> Int {
    var patch = documents.patch
    var references = keptSegments.map(\.reference)
    references += try writeMoved(directory, into: &patch)
    let changes = patch.map { CatalogEntry(key: $0.key, value: $0.value) }
      .sorted { $0.key.lexicographicallyPrecedes($1.key) }
    let generation = lastGeneration + 1
    let salt = UInt64.random(in: .min ... .max)
    var levels = tables.map(\.reference)
    var obsolete = manifest?.obsolete ?? []
    if isCatalogRewritten || !changes.isEmpty {
      let new = try write(changes, directory, salt: salt, generation: generation)
      let level = Catalog.open(new, in: path, configuration)
      if let fault = level.fault { throw fault }
      if isCatalogRewritten {
        obsolete += tables.filter { !$0.isDamaged }.map { ObsoleteFile(digest: $0.reference.digest, kind: .table) }
        levels = [new]
      } else {
        levels.insert(new, at: 0)
      }
    }
    let next = Manifest(
      generation: generation, previous: manifestDigest ?? Digest256(bytes: [UInt8](repeating: 0, count: 32)),
      configuration: configuration, segments: references, tables: levels, obsolete: obsolete)
    _ = try next.publish(in: directory)
    return generation
  }

  /// Writes records anew, and says where.
  private func writeMoved(
    _ directory: StoreDirectory, into patch: inout [[UInt8]: CatalogValue]
  ) throws(Refusal) -> [SegmentReference] {
    var references: [SegmentReference] = []
    var rest = documents.moved.sorted { ($0.value.segment, $0.value.entry) < ($1.value.segment, $1.value.entry) }[...]
    while !rest.isEmpty {
      var writer = try SegmentWriter(in: directory, configuration, salt: .random(in: .min ... .max))
      while writer.byteCount < 1 << 30, let (_, place) = rest.popFirst() {
        try writer.append(copyOf: try StoredRecord(in: segments[place.segment].segment, at: place.entry))
      }
      let (reference, entries) = try writer.publish()
      _ = try SegmentFile(reference, in: path, configuration).segment()
      references.append(reference)
      for (number, entry) in entries.enumerated() {
        let place = ChunkPlace(
          segment: reference.digest.tag, entry: number, tokenCount: entry.tokenCount, byteCount: entry.byteCount)
        patch[CatalogKey.chunk(entry.key)] = .value(place.encoded)
      }
    }
    return references
  }

  /// Writes a table of changes, or of them and all that can be read.
  private func write(
    _ changes: [CatalogEntry], _ directory: StoreDirectory, salt: UInt64, generation: Int
  ) throws(Refusal) -> TableReference {
    var table = try CatalogTableWriter(in: directory, configuration, salt: salt)
    guard isCatalogRewritten else {
      for change in changes { try table.append(change) }
      return try table.publish(generation...generation)
    }
    var scan = catalog.scan(prefix: [])
    func isKept(_ entry: CatalogEntry) -> Bool {
      entry.value.bytes.map { $0.count < CatalogPage.byteCountLimit / 2 } ?? false
    }
    try table.append(changes, over: { scan.nextEntry() }, keeping: isKept)
    return try table.publish(min(tables.last?.reference.generations.lowerBound ?? generation, generation)...generation)
  }
}

extension SegmentWriter {
  /// Appends a record that another segment has.
  /// - Throws: `Refusal` of a record that is damaged, too.
  mutating func append(copyOf record: StoredRecord) throws(Refusal) {
    let file = record.segment.file
    try append(
      record.key, behind: record.behind, tokens: record.tokens, search: file.bytes.extracting(try record.search()),
      blocks: try record.storedBlocks())
  }
}
