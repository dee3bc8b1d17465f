public import FileAccess
import ModelPacks

extension LanguageModel {
  /// How documents of any length are read where nothing else is said: as the pack has it, if somebody has measured it
  /// for this model.
  public var reading: DeepReading {
    pack.reading.map { DeepReading(chunkSize: $0.chunkSize, chunkCount: $0.chunkCount) } ?? DeepReading()
  }

  /// Writes the model's pack with another default for reading. Its identity is a new one, so that stores have to be
  /// built again.
  /// - Parameters:
  ///   - path: where the pack appears when it is whole; one of that name is replaced, this one too.
  ///   - reading: of which the size and the number of chunks are kept.
  ///   - progress: called with bytes of weights written, of how many.
  /// - Throws: `Refusal` `would-replace` for a file that is no pack, `digest-mismatch` when the pack is damaged,
  ///   `newer-version` when it has parts that would be lost, `cannot-create`, `no-space` or `input-output`.
  /// - Precondition: a chunk has 64 to 1,024 tokens, and 1 to 4,096 chunks are read.
  @discardableResult
  public func writePack(
    to path: String, reading: DeepReading, progress: (_ done: Int, _ of: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> Digest256 {
    let path = try Self.packTarget(path)
    PublishedFile.removeRemains(of: path)
    return try pack.write(
      to: path, reading: PackReading(chunkSize: reading.chunkSize, chunkCount: reading.chunkCount), progress: progress)
  }

  /// The file that a pack would be written to, if it may: what a symbolic link leads to.
  /// - Throws: `Refusal` `cannot-create` for what is no regular file, `would-replace` for one that is no pack.
  @discardableResult
  public static func packTarget(_ path: String) throws(Refusal) -> String {
    guard let target = FileStatus.followingLink(path) else {
      throw Refusal(.cannotCreate, file: path, "is a symbolic link that leads nowhere")
    }
    guard let kind = try Directory.kind(of: target) else { return target }
    guard kind == .file else { throw Refusal(.cannotCreate, file: path, "is no regular file, and a pack is one") }
    guard try ModelPack.starts(target) else {
      throw Refusal(.wouldReplace, file: path, "exists and is not a model pack, so it is not replaced")
    }
    return target
  }
}
