public import FileAccess

/// The files of a checkpoint in GGUF: one, or all parts of one that was split.
struct GGUFFiles: Sendable {
  struct Part: Sendable {
    /// Without directory.
    let name: String
    let path: String
    let byteCount: Int
    let tensors: [GGUFHeader.Tensor]
  }

  /// In their order.
  let parts: [Part]
  /// Of the first part: the others have only what says which part they are.
  let metadata: GGUFMetadata

  /// Reads the headers.
  /// - Parameter path: of the file, or of any of its parts.
  /// - Throws: `Refusal` `missing-file`, `malformed-gguf-split`, and those of `GGUFHeader`.
  init(_ path: String) throws(Refusal) {
    let (header, byteCount) = try Self.read(path)
    let (directory, name) = Directory.split(path)
    let count = try header.metadata.integer("split.count") ?? 1
    guard count > 1 else {
      metadata = header.metadata
      parts = [Part(name: name, path: path, byteCount: byteCount, tensors: header.tensors)]
      return
    }
    guard count <= Self.partLimit, let given = GGUFPartName(name), given.count == count else {
      throw Refusal(
        .malformedGGUFSplit, file: path,
        "is one of \(count) parts and not called so: names of parts end like -00001-of-\(GGUFPartName.digits(count)).gguf"
      )
    }
    var parts: [Part] = []
    var metadata = header.metadata
    var names: Set<String> = []
    for number in 1...count {
      let name = given.name(ofPart: number)
      let path = number == given.number ? path : "\(directory)/\(name)"
      let (header, byteCount) = number == given.number ? (header, byteCount) : try Self.read(path)
      guard try header.metadata.integer("split.count") == count, try header.metadata.integer("split.no") == number - 1
      else {
        throw Refusal(.malformedGGUFSplit, file: path, "does not say of itself that it is part \(number) of \(count)")
      }
      for tensor in header.tensors where !names.insert(tensor.name).inserted {
        throw Refusal(.malformedGGUFSplit, file: path, structure: tensor.name, "is in another part, too")
      }
      if number == 1 { metadata = header.metadata }
      parts.append(Part(name: name, path: path, byteCount: byteCount, tensors: header.tensors))
    }
    if let expected = try metadata.integer("split.tensors.count"), expected != names.count {
      throw Refusal(
        .malformedGGUFSplit, file: parts[0].path, structure: "split.tensors.count",
        "is \(expected), and the parts hold \(names.count) tensors")
    }
    self.parts = parts
    self.metadata = metadata
  }

  /// For headers that are in memory.
  init(_ header: GGUFHeader, byteCount: Int) {
    metadata = header.metadata
    let path = header.metadata.file
    parts = [Part(name: path, path: path, byteCount: byteCount, tensors: header.tensors)]
  }

  private static let partLimit = 999

  private static func read(_ path: String) throws(Refusal) -> (GGUFHeader, byteCount: Int) {
    let file = try SequentialFile(path)
    return (try GGUFHeader(reading: file), file.byteCount)
  }

  /// The tensor of a name, and the part that it is in.
  func tensor(_ name: String) -> (GGUFHeader.Tensor, part: Part)? {
    for part in parts {
      if let tensor = part.tensors.first(where: { $0.name == name }) { return (tensor, part) }
    }
    return nil
  }
}

/// The name of a part, such as `model-00002-of-00003.gguf`.
struct GGUFPartName {
  /// `model-`.
  let prefix: Substring
  /// From 1.
  let number: Int
  let count: Int

  init?(_ name: String) {
    let parts = name.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count >= 4, name.hasSuffix(".gguf"), parts[parts.count - 2] == "of",
      let last = parts.last?.dropLast(".gguf".count), let number = Self.number(parts[parts.count - 3]),
      let count = Self.number(last), 1...max(count, 1) ~= number
    else { return nil }
    prefix = name[..<parts[parts.count - 3].startIndex]
    self.number = number
    self.count = count
  }

  private static func number(_ digits: Substring) -> Int? {
    digits.utf8.count == 5 && digits.utf8.allSatisfy { 48...57 ~= $0 } ? Int(digits) : nil
  }

  static func digits(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(5 - digits.count, 0)) + digits
  }

  func name(ofPart number: Int) -> String { "\(prefix)\(Self.digits(number))-of-\(Self.digits(count)).gguf" }
}

extension Refusal.Name {
  /// The parts of a split GGUF file do not agree.
  public static let malformedGGUFSplit = Refusal.Name("malformed-gguf-split", .badInput)
}
