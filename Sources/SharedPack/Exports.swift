// The types that the interface of this library uses, so that `import SharedPack` is enough. `Tools/docs` fails when a
// public signature uses a type that is not among them.

@_exported public import ContextTrees
@_exported public import Tokenization

@_exported public import struct Conversion.ConversionPlan
@_exported public import struct Conversion.ConversionSummary
@_exported public import struct Conversion.Converter
@_exported public import enum FileAccess.Compression
@_exported public import struct FileAccess.Digest256
@_exported public import enum FileAccess.ExitStatus
@_exported public import enum FileAccess.MappingFaults
@_exported public import struct FileAccess.Refusal
@_exported public import enum LlamaRuntime.CachePolicy
@_exported public import struct LlamaRuntime.SamplingOptions
@_exported public import struct LlamaRuntime.TokenProbability
@_exported public import struct ModelPacks.LlamaConfiguration
@_exported public import class ModelPacks.ModelPack
@_exported public import struct ModelPacks.PackProvenance
@_exported public import struct ModelPacks.PackReading
@_exported public import struct ModelPacks.PackTensor
@_exported public import enum ModelPacks.PositionMode
@_exported public import struct ModelPacks.PositionScaling
@_exported public import enum ModelPacks.RopeScaling
@_exported public import struct ModelPacks.SharedLLMConfiguration
@_exported public import enum ModelPacks.TensorEncoding
@_exported public import enum ModelPacks.WeightVerification
@_exported public import struct NodeBlocks.HeadShares
@_exported public import enum NodeBlocks.RowEncoding
@_exported public import struct Templates.RenderedText
@_exported public import struct Templates.TemplateDate
@_exported public import enum TreeStore.ChunkForm
@_exported public import struct TreeStore.ChunkKey
@_exported public import enum TreeStore.CollectionScope
@_exported public import struct TreeStore.DocumentChunks
@_exported public import struct TreeStore.GarbageReport
@_exported public import struct TreeStore.NamePattern
@_exported public import struct TreeStore.ReadingFrame
@_exported public import enum TreeStore.ReadingManner
@_exported public import struct TreeStore.SegmentInspection
@_exported public import enum TreeStore.StoreSharing
@_exported public import struct TreeStore.StoreStatistics
@_exported public import struct TreeStore.StoredDocument
@_exported public import struct TreeStore.TextForm
@_exported public import struct TreeStore.TreeForm
@_exported public import class TreeStore.TreeStore
@_exported public import struct TreeStore.TreeStoreConfiguration
