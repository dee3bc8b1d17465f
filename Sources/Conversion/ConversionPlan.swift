public import FileAccess
public import ModelPacks

/// The result of a conversion as the headers alone predict it.
public struct ConversionPlan: Sendable {
  /// One file of weights.
  public struct Source: Sendable, Hashable {
    /// Without directory.
    public let name: String
    public let byteCount: Int
  }

  public let configuration: LlamaConfiguration
  /// nil: a plain pack.
  public let sharedLLM: SharedLLMConfiguration?
  public let quantization: TensorEncoding
  public let sources: [Source]
  /// In the order of the pack; the digests are zeros.
  public let tensors: [PackTensor]
  /// Tensors of the checkpoint that a LLaMA has no use for, such as `rotary_emb.inv_freq`.
  public let unusedTensors: [String]
  public let hasTokenizer: Bool
  /// Lines for the person who converts, about what is not as one might expect of the checkpoint.
  public let notes: [String]
  public let sourceByteCount: Int
  public let packByteCount: Int
  /// Bytes of all buffers: the memory that the conversion takes besides the program itself.
  public package(set) var memoryByteCount: Int
}

/// How far a conversion has got.
public struct ConversionProgress: Sendable {
  /// Bytes of the sources that have been read and converted.
  public let byteCount: Int
  public let totalByteCount: Int
}

/// The result of a conversion.
public struct ConversionSummary: Sendable {
  public let identity: Digest256
  public let packByteCount: Int
  public let sources: [PackProvenance.Source]
}
