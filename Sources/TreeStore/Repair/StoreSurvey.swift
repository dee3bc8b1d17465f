internal import FileAccess

/// All that is there of a store, file by file, what is wrong with it, and what its catalog has to say instead.
///
/// Every byte is read, and nothing is written.
struct StoreSurvey {
  let path: String
  let configuration: TreeStoreConfiguration
  /// The newest generation that can be read, or that can be taken up.
  let manifest: Manifest?
  let manifestDigest: Digest256?
  /// The newest that can be read.
  let publishedGeneration: Int?
  /// Whether the generation has no manifest yet.
  let isUnfinished: Bool
  /// Whether the generation's own manifest is damaged.
  let isManifestDamaged: Bool
  /// No file belongs to a later one.
  let lastGeneration: Int
  var segments: [SurveyedSegment] = []
  /// From the newest to the oldest.
  var tables: [SurveyedTable] = []
  /// Files that are damaged or do not belong to the store, by their paths.
  var strays: [String] = []
  /// Modes of files that let in more than the store's directory does, and what they should be.
  var modes: [(path: String, mode: UInt32)] = []
  var faults: [StoreFault] = []
  var documents = SurveyedDocuments()
  let isBeingWritten: Bool
  var quarantinedFileCount = 0

  var catalog: PatientCatalog { PatientCatalog(tables: tables.map(\.table)) }
  var isCatalogDamaged: Bool { tables.contains(where: \.isDamaged) }

  /// - Parameters:
  ///   - isLocked: whether the caller has the store's lock: then nobody writes.
  ///   - progress: bytes done and bytes in total; called from time to time.
  /// - Throws: `Refusal` `missing-file`, `not-a-directory`, `not-a-store`, and `newer-version` or `unknown-feature` of a
  ///   store that a later version has written.
  init(
    _ path: String, isLocked: Bool = false, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) {
    self.path = path
    let names = try Self.names(path)
    isBeingWritten = !isLocked && FileLock.isHeld("\(path)/\(StoreFormat.lockName)")
    var faults: [StoreFault] = []
    var strays: [String] = []
    let generations = names.compactMap(StoreFormat.generation)
    var base: (Manifest, Digest256)?
    for generation in generations.reversed() {
      do throws(Refusal) {
        base = try Manifest.read(generation, in: path)
        break
      } catch {
        guard error.name != .newerVersion, error.name != .unknownFeature else { throw error }
        faults.append(StoreFault(kind: .generation, refusal: error))
        strays.append("\(path)/\(StoreFormat.manifestName(generation))")
      }
    }
    var later: Manifest?
    if !isBeingWritten, let base, names.contains(StoreFormat.segmentsName), names.contains(StoreFormat.catalogName) {
      do throws(Refusal) {
        later = try StoreRecovery.nextManifest(in: path, after: base.0, base.1)
      } catch {
        faults.append(StoreFault(kind: .generation, refusal: error))
      }
    }
    isUnfinished = later.map { !generations.contains($0.generation) } ?? false
    isManifestDamaged = later.map { generations.contains($0.generation) } ?? false
    manifest = later ?? base?.0
    manifestDigest = later.map { Digest256(of: $0.encoded) } ?? base?.1
    publishedGeneration = base?.0.generation
    if let base, let previous = base.0.previous, generations.contains(base.0.generation - 1),
      let fault = Self.fault(ofManifest: base.0.generation - 1, in: path, previous)
    {
      faults.append(StoreFault(kind: .generation, refusal: fault))
      strays.append("\(path)/\(StoreFormat.manifestName(base.0.generation - 1))")
    }
    if isUnfinished, let table = later?.tables.first {
      faults.append(
        StoreFault(
          kind: .generation,
          refusal: Refusal(
            .unfinishedGeneration, file: StoreFormat.tablePath(path, table.digest),
            "belongs to generation \(table.generations.upperBound), whose manifest is not there")))
    }
    if base == nil, generations.isEmpty {
      faults.append(
        StoreFault(
          kind: .generation, refusal: Refusal(.missingManifest, file: path, "has files of a store and no manifest")))
    }
    var files: [String] = []
    for name in [StoreFormat.segmentsName, StoreFormat.catalogName] {
      let directory = "\(path)/\(name)"
      guard names.contains(name) else {
        faults.append(
          StoreFault(kind: .file, refusal: Refusal(.missingFile, file: directory, "the directory is not there")))
        continue
      }
      files += try Directory.names(in: directory).filter { !StoreCreation.isPartial($0) }.map { "\(directory)/\($0)" }
    }
    guard let configuration = manifest?.configuration ?? Self.configuration(of: files) else {
      throw Refusal(.notAStore, file: path, "no manifest and no file of the store can be read")
    }
    self.configuration = configuration
    var last = max(generations.last ?? 0, manifest?.generation ?? 0)
    let unknown = Self.tables(among: files, configuration) { faults.append(StoreFault(kind: .file, refusal: $0)) }
    for table in unknown { last = max(last, table.reference.generations.upperBound) }
    lastGeneration = last
    self.faults = faults
    self.strays = strays
    let total = files.reduce(0) { CheckedSize.sum($0, Directory.byteCount(of: $1) ?? 0) ?? .max }
    var done = 0
    surveyTables(files, unknown)
    for level in tables { done = CheckedSize.sum(done, level.reference.byteCount) ?? .max }
    progress(done, total)
    surveySegments(files) { progress(min(CheckedSize.sum(done, $0) ?? .max, total), total) }
    surveyAccess(names, files)
    if names.contains(StoreFormat.quarantineName) {
      quarantinedFileCount = ((try? Directory.names(in: "\(path)/\(StoreFormat.quarantineName)")) ?? []).count
    }
    surveyCatalog()
  }

  /// The names in a directory that is a store or was one.
  private static func names(_ path: String) throws(Refusal) -> [String] {
    switch try Directory.kind(of: path) {
    case .directory: break
    case nil: throw Refusal(.missingFile, file: path, "there is no store here")
    default: throw Refusal(.notADirectory, file: path, "a store is a directory")
    }
    let names = try Directory.names(in: path)
    guard
      names.contains(where: {
        StoreFormat.generation($0) != nil || $0 == StoreFormat.segmentsName || $0 == StoreFormat.catalogName
      })
    else { throw Refusal(.notAStore, file: path, "has nothing of a store") }
    return names
  }

  /// - Throws: `Refusal`, of a directory that has nothing of a store.
  static func requireRemains(_ path: String) throws(Refusal) { _ = try names(path) }

  private static func fault(ofManifest generation: Int, in path: String, _ digest: Digest256) -> Refusal? {
    do throws(Refusal) {
      guard try Manifest.read(generation, in: path).1 != digest else { return nil }
      return Refusal(
        .digestMismatch, file: "\(path)/\(StoreFormat.manifestName(generation))",
        "is not the generation that the next one follows")
    } catch {
      return error.name == .missingFile ? nil : error
    }
  }

  mutating func add(_ kind: StoreFault.Kind, _ refusal: Refusal) {
    faults.append(StoreFault(kind: kind, refusal: refusal))
  }

  mutating func addUnknown(_ file: String, _ what: String) {
    // A writer names them in a moment.
    guard !isBeingWritten else { return }
    add(.file, Refusal(.unknownFile, file: file, what))
  }

  // MARK: Files

  private static func digest(_ file: String, suffix: String) -> Digest256? {
    let name = Directory.split(file).name
    return name.hasSuffix(suffix) ? Digest256(hexadecimal: String(name.dropLast(suffix.count))) : nil
  }

  /// The configuration of most chunks, or else of a table.
  private static func configuration(of files: [String]) -> TreeStoreConfiguration? {
    var counts: [TreeStoreConfiguration: Int] = [:]
    for file in files where digest(file, suffix: StoreFormat.segmentSuffix) != nil {
      guard let mapped = try? MappedFile(file), let segment = try? Segment(opening: mapped) else { continue }
      counts[segment.configuration, default: 0] += segment.index.count
    }
    if counts.isEmpty {
      for file in files where digest(file, suffix: StoreFormat.tableSuffix) != nil {
        guard let mapped = try? MappedFile(file), let table = try? CatalogTable(opening: mapped) else { continue }
        counts[table.configuration] = CheckedSize.sum(counts[table.configuration] ?? 0, table.entryCount) ?? .max
      }
    }
    return counts.max { ($0.value, $1.key.modelIdentity) < ($1.value, $0.key.modelIdentity) }?.key
  }

  /// The tables of a configuration that can be opened.
  /// - Parameter fault: called with why a file cannot be read at present.
  private static func tables(
    among files: [String], _ configuration: TreeStoreConfiguration, fault: (Refusal) -> Void
  ) -> [(path: String, reference: TableReference, table: CatalogTable)] {
    files.compactMap { file in
      do throws(Refusal) {
        guard let table = try StoreRecovery.table(file, configuration) else { return nil }
        return (file, table.reference, table.table)
      } catch {
        fault(error)
        return nil
      }
    }
  }

  /// Why it is not known what is there: a file that cannot be opened at present is not lost.
  var openingFault: Refusal? {
    // What is read of a file that was cut, or of a disk that lost a part of it, is damaged.
    faults.lazy.map(\.refusal).first { !$0.isOfContents && $0.name != .fileChanged }
  }

  private mutating func surveyTables(
    _ files: [String], _ openable: [(path: String, reference: TableReference, table: CatalogTable)]
  ) {
    var levels: [SurveyedTable] = []
    var used: Set<String> = []
    for reference in manifest?.tables ?? [] {
      let level = Catalog.open(reference, in: path, configuration)
      if let fault = level.fault { add(.file, fault) }
      levels.append(SurveyedTable(reference: reference, table: level.table, isDamaged: level.table == nil))
      used.insert(StoreFormat.tablePath(path, reference.digest))
    }
    let obsolete = Set((manifest?.obsolete ?? []).map { $0.path(in: path) })
    // Of later generations than any manifest tells, or of all when none can be read.
    let later = openable.filter {
      !used.contains($0.path) && !obsolete.contains($0.path)
        && $0.reference.generations.upperBound > (manifest?.generation ?? 0)
    }.sorted {
      let (left, right) = ($0.reference.generations, $1.reference.generations)
      return (right.upperBound, left.lowerBound) < (left.upperBound, right.lowerBound)
    }
    if !isBeingWritten {
      for (file, reference, table) in later {
        let range = reference.generations
        guard levels.allSatisfy({ !$0.reference.generations.overlaps(range) }) else { continue }
        levels.append(SurveyedTable(reference: reference, table: table, isDamaged: false))
        used.insert(file)
        if manifest != nil { addUnknown(file, "a table of generation \(range.upperBound), which has no manifest") }
      }
    }
    levels.sort { $0.reference.generations.lowerBound > $1.reference.generations.lowerBound }
    for level in levels {
      var isDamaged = level.isDamaged
      if let table = level.table {
        var isNoted = false
        for damaged in PatientCatalog(tables: [table]).damaged()[0] {
          add(.file, damaged.fault)
          isNoted = true
        }
        if !isNoted {
          do throws(Refusal) {
            try table.verify(digest: level.reference.digest)
          } catch {
            add(.file, error)
            isNoted = true
          }
        }
        isDamaged = isNoted
      }
      tables.append(SurveyedTable(reference: level.reference, table: level.table, isDamaged: isDamaged))
      if isDamaged {
        let file = StoreFormat.tablePath(path, level.reference.digest)
        if files.contains(file) { strays.append(file) }
      }
    }
    for file in files where file.hasPrefix("\(path)/\(StoreFormat.catalogName)/") {
      guard !used.contains(file), !obsolete.contains(file) else { continue }
      addUnknown(file, "no generation names it")
      strays.append(file)
    }
  }

  private mutating func surveySegments(_ files: [String], progress: (Int) -> Void) {
    var done = 0
    var tags: Set<UInt64> = []
    var seen: Set<String> = []
    let references = Dictionary(
      (manifest?.segments ?? []).map { (StoreFormat.segmentPath(path, $0.digest), $0) }, uniquingKeysWith: { $1 })
    let obsolete = Set((manifest?.obsolete ?? []).map { $0.path(in: path) })
    let paths = files.filter { $0.hasPrefix("\(path)/\(StoreFormat.segmentsName)/") }
    for file in paths where !obsolete.contains(file) {
      seen.insert(file)
      let named = references[file]
      let segment: Segment
      let reference: SegmentReference
      var openingFault: Refusal?
      switch Self.open(file, named, configuration) {
      case .success(let opened): (segment, reference) = opened
      case .failure(let fault):
        if !isBeingWritten || named != nil { strays.append(file) }
        guard let rescued = rescued(file, named, after: fault) else {
          add(.file, fault)
          continue
        }
        (segment, reference) = rescued
        openingFault = fault
      }
      let examination = segment.examine(digest: reference.digest) { progress(done + $0) }
      done += segment.file.byteCount
      if let openingFault {
        let (found, all) = (segment.index.count - examination.damaged.count, named.map { " of \($0.chunkCount)" } ?? "")
        add(
          .file,
          Refusal(
            openingFault.name, file: file, structure: openingFault.structure,
            "\(openingFault.fault); \(found)\(all) chunks can be read without its index"))
      } else if named == nil {
        addUnknown(file, "a segment of \(segment.index.count) chunks that no generation names")
      }
      if let fault = examination.fault { add(.file, fault) }
      for (number, fault) in examination.damaged.sorted(by: { $0.key < $1.key }) {
        faults.append(StoreFault(kind: .record, refusal: fault, chunk: segment.index.key(at: number)))
      }
      for fault in examination.ranges { add(.range, fault) }
      // Two files whose digests begin alike cannot be told apart in the catalog.
      let isReplaced =
        segment.isRescued || !examination.damaged.isEmpty || examination.fault != nil
        || !tags.insert(reference.digest.tag).inserted
      if isReplaced, !segment.isRescued { strays.append(file) }
      // What a writer is about to name is its own.
      guard named != nil || !isBeingWritten else { continue }
      segments.append(
        SurveyedSegment(
          segment: segment, reference: reference, isNamed: named != nil, damaged: Set(examination.damaged.keys),
          isReplaced: isReplaced))
    }
    for (file, _) in references.sorted(by: { $0.key < $1.key }) where !seen.contains(file) {
      add(.file, Refusal(.missingSegment, file: file, "the manifest names it and it is not there"))
    }
  }

  private static func open(
    _ file: String, _ named: SegmentReference?, _ configuration: TreeStoreConfiguration
  ) -> Result<(Segment, SegmentReference), Refusal> {
    do throws(Refusal) {
      guard let digest = digest(file, suffix: StoreFormat.segmentSuffix) else {
        return .failure(Refusal(.unknownFile, file: file, "no generation names it, and it has not a segment's name"))
      }
      let mapped = try MappedFile(file)
      if let named {
        // One that is whole but another one is as good as lost; its records are looked at all the same.
        let segment = try Segment(opening: mapped)
        try segment.configuration.require(configuration, file: file)
        return .success((segment, named))
      }
      let segment = try Segment(opening: mapped)
      try segment.configuration.require(configuration, file: file)
      return .success(
        (
          segment,
          SegmentReference(
            digest: digest, closingDigest: segment.closingDigest, byteCount: mapped.byteCount,
            chunkCount: segment.totals.chunkCount)
        ))
    } catch {
      return .failure(error)
    }
  }

  /// What can be read of a segment that cannot be opened.
  private func rescued(
    _ file: String, _ named: SegmentReference?, after fault: Refusal
  ) -> (Segment, SegmentReference)? {
    // What a writer is about to name is its own, and another model's is whole.
    guard named != nil || !isBeingWritten, fault.name != .modelMismatch, fault.name != .configurationMismatch,
      let digest = Self.digest(file, suffix: StoreFormat.segmentSuffix),
      let segment = Segment.remains(of: file, configuration, byteCount: named?.byteCount ?? .max), segment.isRescued
    else { return nil }
    let reference = SegmentReference(
      digest: digest, closingDigest: segment.closingDigest, byteCount: segment.file.byteCount,
      chunkCount: segment.index.count)
    return (segment, reference)
  }

  private mutating func surveyAccess(_ names: [String], _ files: [String]) {
    guard let own = Directory.access(of: path) else { return }
    let directory = StoreDirectory(path)
    var all: [(String, UInt32)] = files.map { ($0, directory.fileMode) }
    for name in names {
      switch name {
      case StoreFormat.segmentsName, StoreFormat.catalogName, StoreFormat.quarantineName:
        all.append(("\(path)/\(name)", directory.directoryMode))
      case _ where name == StoreFormat.lockName || StoreFormat.generation(name) != nil:
        all.append(("\(path)/\(name)", directory.fileMode))
      default: break
      }
    }
    for (file, mode) in all {
      guard let access = Directory.access(of: file) else { continue }
      if access.owner != own.owner {
        add(
          .permission,
          Refusal(
            .foreignOwner, file: file, "belongs to user \(access.owner), and the store to user \(own.owner)"))
      }
      guard access.mode & 0o077 & ~mode != 0 else { continue }
      add(
        .permission,
        Refusal(
          .accessTooWide, file: file,
          "has mode \(String(access.mode, radix: 8)); the store's directory lets in no more than "
            + String(access.mode & (mode | 0o700), radix: 8)))
      modes.append((file, access.mode & (mode | 0o700)))
    }
  }
}
